#include "script.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <utility>

#include "dump.h"
#include "machine.h"

namespace weft::script {
namespace {

using Lines = std::vector<std::string>;
using Words = std::vector<std::string>;

model::ObjectKey key_of(const std::string& text) {
  const auto slash = text.find('/');
  return slash == std::string::npos ? model::ObjectKey{"", text}
                                    : model::ObjectKey{text.substr(0, slash), text.substr(slash + 1)};
}

class Runner {
 public:
  explicit Runner(std::string name) : name_(std::move(name)), config_(*agent::parse_config(name_, base_config)) {}

  Lines run(const Words& words, const std::string& document) {
    static const std::map<std::string, Result<Lines> (Runner::*)(const Words&, const std::string&)> commands{
        {"config", &Runner::config}, {"sizes", &Runner::sizes},     {"apply", &Runner::apply},
        {"delete", &Runner::remove}, {"attach", &Runner::attach},   {"detach", &Runner::detach},
        {"dump", &Runner::dump_map}, {"verdict", &Runner::verdict}, {"restart", &Runner::restart},
        {"follow", &Runner::follow}, {"seen", &Runner::seen},       {"fail", &Runner::fail_writes},
        {"heal", &Runner::heal}};
    const auto found = commands.find(words.front());
    if (found == commands.end()) return {"error: no such command"};
    auto lines = (this->*found->second)(words, document);
    if (lines) return std::move(*lines);
    // How many writes are owed depends on the moment.
    const auto code = lines.error().code;
    return {fmt::format("error: {}: {}", to_string(code),
                        code == ErrorCode::io ? "map writes failed, they are repeated" : lines.error().message)};
  }

 private:
  static constexpr const char* base_config = "pod_cidrs: [10.0.0.0/24]\nservice_cidrs: [10.96.0.0/24]\n";

  Machine& machine() {
    if (!machine_) machine_ = std::make_unique<Machine>(config_, sizes_);
    return *machine_;
  }
  Result<Lines> config(const Words&, const std::string& document) {
    WEFT_TRY(config_, agent::parse_config(name_, document));
    machine_.reset();
    return Lines{};
  }
  Result<Lines> sizes(const Words& words, const std::string&) {
    for (std::size_t i = 1; i < words.size(); ++i) {
      const auto equals = words[i].find('=');
      sizes_[words[i].substr(0, equals)] = static_cast<std::uint32_t>(std::stoul(words[i].substr(equals + 1)));
    }
    machine_.reset();
    return Lines{};
  }
  Result<Lines> apply(const Words&, const std::string& document) { return machine().apply(name_, document); }
  Result<Lines> remove(const Words& words, const std::string&) {
    WEFT_TRY(const auto kind, model::parse_kind(words.at(1)));
    WEFT_CHECK(machine().remove({kind, key_of(words.at(2))}));
    return Lines{};
  }
  Result<Lines> attach(const Words& words, const std::string&) {
    Lines lines;
    for (std::size_t i = 1; i < words.size(); ++i) {
      WEFT_TRY(const auto addresses, machine().attach(key_of(words[i])));
      auto line = words[i];
      for (const auto& address : addresses) line += " " + address.to_string();
      lines.push_back(line);
    }
    return lines;
  }
  Result<Lines> detach(const Words& words, const std::string&) {
    for (std::size_t i = 1; i < words.size(); ++i) WEFT_CHECK(machine().detach(key_of(words[i])));
    return Lines{};
  }
  Result<Lines> dump_map(const Words& words, const std::string&) { return dump(machine(), words.at(1)); }
  Result<IpAddress> address_of(const std::string& text) {
    if (text == "host") return *machine().node().addresses.begin();
    if (text == "world") return IpAddress::parse("203.0.113.9");
    if (auto address = IpAddress::parse(text)) return address;
    const auto addresses = machine().addresses(key_of(text));
    if (addresses.empty()) return fail(ErrorCode::not_found, text + " is not attached");
    return addresses.front();
  }
  Result<Lines> verdict(const Words& words, const std::string&) {
    WEFT_TRY(const auto from, address_of(words.at(1)));
    WEFT_TRY(const auto to, address_of(words.at(2)));
    WEFT_TRY(const auto port, PortProtocol::parse(words.at(3)));
    return verdicts(machine(), from, to, port);
  }
  // From now on the verdict is asked after every write to a map.
  Result<Lines> follow(const Words& words, const std::string&) {
    WEFT_TRY(const auto from, address_of(words.at(1)));
    WEFT_TRY(const auto to, address_of(words.at(2)));
    WEFT_TRY(const auto port, PortProtocol::parse(words.at(3)));
    const auto look = [this, from, to, port] {
      auto now = verdicts(machine(), from, to, port).value_or(Lines{"error"});
      if (seen_.empty() || seen_.back() != now) seen_.push_back(std::move(now));
    };
    seen_.clear();
    look();
    machine().maps().written = [look](const std::string&) { look(); };
    return Lines{};
  }
  Result<Lines> seen(const Words&, const std::string&) {
    machine().maps().written = nullptr;
    Lines lines;
    for (const auto& verdict : std::exchange(seen_, {})) lines.insert(lines.end(), verdict.begin(), verdict.end());
    return lines;
  }
  Result<Lines> restart(const Words&, const std::string&) {
    const auto before = machine().maps().writes();
    WEFT_CHECK(machine().restart());
    return Lines{fmt::format("{} map writes", machine().maps().writes() - before)};
  }
  Result<Lines> fail_writes(const Words& words, const std::string&) {
    if (words.at(1) == "every")
      machine().maps().fail_every(static_cast<unsigned>(std::stoul(words.at(2))));
    else
      machine().maps().fails = [name = words.at(2)](std::uint64_t, const std::string& map) { return map == name; };
    return Lines{};
  }
  Result<Lines> heal(const Words&, const std::string&) {
    machine().maps().heal();
    WEFT_CHECK(machine().converge());
    return Lines{};
  }

  std::string name_;
  agent::Config config_;
  std::map<std::string, std::uint32_t> sizes_;
  std::vector<Lines> seen_;
  std::unique_ptr<Machine> machine_;  // after what its maps' watcher writes to
};

Words split(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

}  // namespace

std::string run_script(const std::string& name, const std::string& text) {
  Runner runner(name);
  std::istringstream input(text);
  std::string output;
  for (std::string line; std::getline(input, line);) {
    if (line.starts_with("  ")) continue;  // what was printed last time
    output += line + "\n";
    auto words = split(line);
    if (words.empty() || words.front().starts_with('#')) continue;
    std::string document;
    if (words.back().starts_with("<<")) {
      const auto end = words.back().substr(2);
      words.pop_back();
      std::string part;
      while (std::getline(input, part)) {
        output += part + "\n";
        if (part == end) break;
        document += part + "\n";
      }
    }
    for (const auto& printed : runner.run(words, document)) output += "  " + printed + "\n";
  }
  return output;
}

}  // namespace weft::script
