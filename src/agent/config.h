// The configuration is a room of its own, for `weft install` reads it, too.
#pragma once

#include "config/agent/config.h"
