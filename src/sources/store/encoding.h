// Values as the text of a column, and back. What comes from the file is checked: a row that does not
// decode is an error that quotes it. Used inside this room only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "base/result.h"
#include "sources/store/rows.h"

namespace weft::store {

std::string join(const std::vector<IpAddress>& addresses);
Result<std::vector<IpAddress>> split_addresses(std::string_view text);

// "8080:80/TCP,5353:53/UDP@10.0.0.1": host port, container port, protocol and, where one is asked for, the host's
// address.
std::string join(const std::vector<PortMapping>& mappings);
Result<std::vector<PortMapping>> split_port_mappings(std::string_view text);

// `invalid` when a key or value is not UTF-8.
Result<std::string> encode(const LabelMap& labels);
Result<LabelMap> decode_labels(std::string_view text);

}  // namespace weft::store
