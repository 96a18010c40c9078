#include "sources/cluster/operator_record.h"

#include <limits>
#include <utility>

#include "sources/cluster/value_reader.h"

namespace weft::cluster {
namespace {

constexpr auto most = std::numeric_limits<std::uint64_t>::max();

// Each count and its name.
template <class Record, class Visit>
void each_count(Record& record, Visit visit) {
  visit("rounds", record.collected.rounds);
  visit("nodes", record.collected.nodes);
  visit("endpoints", record.collected.endpoints);
  visit("blocks", record.collected.blocks);
  visit("users", record.collected.users);
  visit("identities", record.collected.identities);
  visit("served", record.served);
  visit("waiting", record.waiting);
}

template <class Record, class Visit>
void each_text(Record& record, Visit visit) {
  visit("host", record.host);
  visit("software", record.version);
  visit("started", record.started);
  visit("last_round", record.last_round);
  visit("problem", record.problem);
}

}  // namespace

std::string encode(const OperatorRecord& record) {
  auto value = object();
  const auto set = [&](const char* name, const auto& field) { value[name] = field; };
  each_text(record, set);
  each_count(record, set);
  return dump(value);
}

Result<OperatorRecord> decode_operator(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  OperatorRecord record;
  each_text(record, [&](const char* name, std::string& field) { field = reader.text(name); });
  each_count(record, [&](const char* name, std::uint64_t& field) { field = reader.number(name, 0, most); });
  return reader.result(std::move(record));
}

}  // namespace weft::cluster
