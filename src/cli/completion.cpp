#include "cli/completion.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "api/answer.h"
#include "cli/json_access.h"
#include "lab/conditioning.h"
#include "lab/layout.h"
#include "lab/machine.h"

namespace weft::cli {
namespace {

using nlohmann::json;

constexpr std::string_view bash_script = R"(# weft completion for bash
_weft_complete() {
  local line words
  words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = ":files" ]; then
      compopt -o default 2>/dev/null
      COMPREPLY=()
      return
    fi
    COMPREPLY+=("${line%%$'\t'*}")
  done < <(weft __complete -- "${words[@]}" 2>/dev/null)
}
complete -F _weft_complete weft
)";

constexpr std::string_view zsh_script = R"(#compdef weft
_weft() {
  local line
  local -a candidates
  for line in "${(@f)$(weft __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [ "$line" = ":files" ] && { _files; return }
    [ -n "$line" ] && candidates+=("${${line//:/\\:}/$'\t'/:}")
  done
  _describe 'weft' candidates
}
if [ "$funcstack[1]" = "_weft" ]; then _weft; else compdef _weft weft; fi
)";

constexpr std::string_view fish_script = R"(# weft completion for fish
function __weft_complete
  set -l words (commandline -opc)
  set -l answer (weft __complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
  if test "$answer" = ":files"
    __fish_complete_path (commandline -ct)
  else
    printf '%s\n' $answer
  end
end
complete -c weft -f -a '(__weft_complete)'
)";

class Completer {
 public:
  Completer(const Session& session, const CLI::App& root, const Completions& values)
      : session_(session), at_(&root), values_(values) {}

  void complete(std::vector<std::string> words) {
    // bash cuts "--output=js" into three words.
    if (!words.empty() && words.back() == "=") words.back().clear();
    std::erase(words, "=");
    const std::string last = words.empty() ? "" : words.back();
    const CLI::Option* waiting = nullptr;  // an option whose value comes next
    for (std::size_t i = 0; i + 1 < words.size(); ++i) waiting = step(words[i], waiting);
    prefix_ = last;
    if (waiting != nullptr) {
      option_values(*waiting);
    } else if (last.starts_with("--") && last.contains('=')) {
      // Candidates stay whole words: "--output=json".
      const auto equals = last.find('=');
      if (const auto* option = find_option(last.substr(0, equals))) {
        lead_ = last.substr(0, equals + 1);
        option_values(*option);
      }
    } else if (last.starts_with('-')) {
      options();
    } else {
      subcommands();
      positional_values();
    }
  }

 private:
  // Follows one complete word; returns the option it opens.
  const CLI::Option* step(const std::string& word, const CLI::Option* waiting) {
    if (waiting != nullptr) {
      note(*waiting, word);
      return nullptr;
    }
    if (word.starts_with('-') && word.size() > 1) {
      if (const auto equals = word.find('='); equals != std::string::npos) {
        if (const auto* option = find_option(word.substr(0, equals))) note(*option, word.substr(equals + 1));
        return nullptr;
      }
      const auto* option = find_option(word);
      return option != nullptr && option->get_items_expected_max() > 0 ? option : nullptr;
    }
    for (const auto* sub : at_->get_subcommands([](const CLI::App*) { return true; }))
      if (positionals_.empty() && sub->get_name() == word) {
        at_ = sub;
        return nullptr;
      }
    positionals_.push_back(word);
    return nullptr;
  }

  // Which agent to ask for names.
  void note(const CLI::Option& option, const std::string& value) {
    if (option.check_lname("socket")) session_.socket = value;
    if (option.check_lname("lab")) session_.lab = value;
    if (option.check_lname("node")) session_.node = value;
    if (option.check_lname("name") && in_lab()) session_.lab = value;
  }

  // Options of the command and, since they may stand anywhere, of those above it.
  [[nodiscard]] std::vector<const CLI::Option*> visible_options() const {
    std::vector<const CLI::Option*> all;
    for (const auto* app = at_; app != nullptr; app = app->get_parent())
      for (const auto* option : app->get_options())
        if (!option->get_positional() && (app == at_ || option->get_name() != "--help")) all.push_back(option);
    return all;
  }

  [[nodiscard]] const CLI::Option* find_option(const std::string& word) const {
    for (const auto* option : visible_options())
      if (option->check_name(word)) return option;
    return nullptr;
  }

  void options() {
    for (const auto* option : visible_options())
      for (const auto& name : option->get_lnames()) add("--" + name, option->get_description());
  }

  void subcommands() {
    if (!positionals_.empty()) return;
    for (const auto* sub : at_->get_subcommands([](const CLI::App*) { return true; }))
      if (!sub->get_group().empty()) add(sub->get_name(), sub->get_description());
  }

  void option_values(const CLI::Option& option) {
    if (auto known = values_.find(&option); known != values_.end()) {
      for (const auto& value : known->second) add(value);
      return;
    }
    if (const auto words = choices(option); !words.empty()) {
      for (const auto& word : words) add(word);
      return;
    }
    auto named = [&](std::initializer_list<const char*> names) {
      return std::ranges::any_of(names, [&](const char* name) { return option.check_lname(name); });
    };
    if (named({"namespace", "from-namespace", "to-namespace"})) {
      names_of("namespaces", false);
    } else if (named({"pod", "from-pod", "to-pod"})) {
      names_of("pods", true);
    } else if (named({"to"}) && at_->get_name() == "trace") {
      names_of("services", true, "svc/");
    } else if (named({"from"}) && at_->get_name() == "trace") {
      names_of("pods", true);
      add("host");
    } else if (named({"from", "to"})) {
      names_of("pods", true);
      if (option.check_lname("to")) names_of("services", true, "svc/");
      for (const auto* value : {"world", "host"}) add(value);
      if (in_lab()) nodes();
    } else if (named({"service"})) {
      names_of("services", true);
    } else if (named({"protocol"})) {
      for (const auto* value : {"TCP", "UDP", "SCTP", "ICMP", "ICMPv6"}) add(value);
    } else if (named({"node"})) {
      nodes();
    } else if (named({"lab"}) || (option.check_lname("name") && in_lab())) {
      labs();
    } else if (named({"filename", "socket", "file", "config"})) {
      session_.io.out << ":files\n";
    }
  }

  // What CLI11 says of an option that takes some words only: "TEXT:{none,vxlan}".
  static std::vector<std::string> choices(const CLI::Option& option) {
    const auto type = option.get_type_name();
    const auto begin = type.find(":{");
    const auto end = type.find('}', begin == std::string::npos ? 0 : begin);
    if (begin == std::string::npos || end == std::string::npos) return {};
    return CLI::detail::split(type.substr(begin + 2, end - begin - 2), ',');
  }

  [[nodiscard]] bool below(std::string_view parent) const {
    return at_->get_parent() != nullptr && at_->get_parent()->get_name() == parent;
  }

  void positional_values() {
    for (const auto* option : at_->get_options())
      if (option->get_positional())
        if (auto known = values_.find(option); known != values_.end() && positionals_.empty())
          for (const auto& value : known->second) add(value);
    const auto command = at_->get_name();
    if (command == "get" && below("service")) {
      if (positionals_.empty()) names_of("services", true);
    } else if (command == "status" && below("policy")) {
      if (positionals_.empty()) names_of("networkpolicies", true);
    } else if (command == "delete" && below("node")) {
      if (positionals_.empty()) names_in("node.list", "name");
    } else if (command == "delete" && in_lab()) {
      return;
    } else if (command == "get" || command == "delete") {
      if (positionals_.size() == 1) names_of(positionals_.front(), true);
      if (positionals_.empty())
        for (const auto* kind :
             {"all", "bgppeerings", "deployments", "egressgateways", "endpointslices", "l2announcements",
              "loadbalancerpools", "namespaces", "networkpolicies", "podaddresspools", "pods", "services"})
          if (command == "get" || std::string_view(kind) != "all") add(kind);
    } else if (command == "routes" && positionals_.empty()) {
      names_in("bgp.peers", "address");
    } else if (in_lab() && positionals_.empty() && command == "exec") {
      names_of("pods", true);
      nodes();
    } else if (in_lab() && positionals_.empty() && (command == "kill" || command == "start")) {
      if (const auto layout = present_lab())
        for (const auto& name : lab::names_in(*layout)) add(name);
    } else if (in_lab() && positionals_.empty() && takes_nodes(command)) {
      nodes();
    } else if (command == "help") {
      const auto* top = at_->get_parent();
      for (const auto& word : positionals_)
        if (top != nullptr) top = find_sub(top, word);
      if (top != nullptr)
        for (const auto* sub : top->get_subcommands([](const CLI::App*) { return true; }))
          if (!sub->get_group().empty()) add(sub->get_name(), sub->get_description());
    }
  }

  static bool takes_nodes(std::string_view command) {
    constexpr std::array<std::string_view, 5> commands = {"partition", "heal", "delay", "loss", "crash"};
    return std::ranges::find(commands, command) != commands.end();
  }

  static const CLI::App* find_sub(const CLI::App* app, const std::string& name) {
    for (const auto* sub : app->get_subcommands([](const CLI::App*) { return true; }))
      if (sub->get_name() == name) return sub;
    return nullptr;
  }

  [[nodiscard]] bool in_lab() const {
    for (const auto* app = at_; app != nullptr; app = app->get_parent())
      if (app->get_name() == "lab") return true;
    return false;
  }

  void names_of(const std::string& kind, bool with_namespace, const std::string& lead = {}) {
    if (in_lab() && session_.lab.empty()) session_.lab = lab::default_lab;
    auto client = session_.connect();
    if (!client) return;
    auto answer = client->call("get", {{"kind", kind}}, std::chrono::milliseconds(500));
    if (!answer) return;
    for (const auto& item : member(*answer, "items")) {
      const auto namespace_ = text(item, "metadata/namespace");
      std::string name = lead;
      if (with_namespace && !namespace_.empty()) name.append(namespace_).append("/");
      add(name.append(text(item, "metadata/name")));
    }
  }

  // Of the items that a method answers.
  void names_in(const char* method, const char* member_name) {
    auto client = session_.connect();
    if (!client) return;
    auto answer = client->call(method, json::object(), std::chrono::milliseconds(500));
    if (!answer) return;
    for (const auto& item : member(*answer, "items")) add(text(item, member_name));
  }

  void labs() {
    std::error_code error;
    for (std::filesystem::directory_iterator entry(lab::Roots{}.run, error), end; !error && entry != end;
         entry.increment(error))
      if (entry->is_directory(error)) add(entry->path().filename().string());
  }

  // The one that is named, or the default one; nothing when it is not there.
  [[nodiscard]] std::optional<lab::Layout> present_lab() const {
    const auto name = session_.lab.empty() ? std::string(lab::default_lab) : session_.lab;
    if (!lab::check_lab_name(name)) return std::nullopt;
    auto layout = lab::this_machine().layout(name);
    std::error_code error;
    return std::filesystem::is_directory(layout.run_dir(), error) ? std::optional(std::move(layout)) : std::nullopt;
  }

  void nodes() {
    if (const auto layout = present_lab())
      for (const auto& node : layout->nodes()) add(node.name);
  }

  void add(const std::string& word, const std::string& description = {}) {
    const auto whole = lead_ + word;
    if (!whole.starts_with(prefix_) || !seen_.insert(whole).second) return;
    session_.io.out << whole;
    if (!description.empty()) session_.io.out << '\t' << description;
    session_.io.out << '\n';
  }

  Session session_;
  const CLI::App* at_;
  const Completions& values_;
  std::vector<std::string> positionals_;
  std::string prefix_;
  std::string lead_;
  std::set<std::string> seen_;
};

}  // namespace

std::string_view completion_script(std::string_view shell) {
  if (shell == "bash") return bash_script;
  return shell == "zsh" ? zsh_script : fish_script;
}

int print_completions(const Session& session, const CLI::App& root, const Completions& completions,
                      const std::vector<std::string>& words) {
  Completer(session, root, completions).complete(words);
  return exit_ok;
}

}  // namespace weft::cli
