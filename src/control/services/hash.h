// abi/hash.h for C++: the C casts of a header that BPF programs compile too are no findings here.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include "abi/hash.h"
#pragma GCC diagnostic pop
