// Certificates for tests, made when they are needed: keys on P-256, valid for a day.
#pragma once

#include <string>
#include <vector>

namespace weft::kubernetes::testing {

struct Certificate {
  std::string certificate_pem;
  std::string key_pem;
};

// Signed by itself, good as its own authority. Names are "127.0.0.1" or "kubernetes".
Certificate make_certificate(const std::string& common_name, const std::vector<std::string>& names);

}  // namespace weft::kubernetes::testing
