// The syntax rules Kubernetes has for names. Each returns what is wrong, empty when nothing is.
#pragma once

#include <string>
#include <string_view>

namespace weft::model {

std::string check_dns_label(std::string_view text);       // RFC 1123 label, up to 63
std::string check_dns_1035_label(std::string_view text);  // as above, beginning with a letter
std::string check_dns_subdomain(std::string_view text);   // labels joined by dots, up to 253
std::string check_label_key(std::string_view text);       // [prefix/]name
std::string check_label_value(std::string_view text);     // may be empty, up to 63
std::string check_port_name(std::string_view text);       // IANA service name, up to 15

}  // namespace weft::model
