// The CNI plugin and the configuration list by which runtimes find it, installed on the node and kept there
// (docs/cni.md).
//
// The kubelet says Ready as soon as there is a list, so it is written when pods can be attached and not before. It
// stays when the agent ends: the next one attaches pods, and meanwhile the plugin says that it is away. What lies under
// one of the names and is not Weft's is left alone, and is a fault. On the agent's thread; blocking, with small files.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/faults.h"
#include "base/result.h"
#include "config/agent/config.h"

namespace weft::agent {

class CniInstall {
 public:
  struct Options {
    std::string bin_dir;    // empty: the plugin is not installed
    std::string conf_dir;   // empty: the list is not
    std::string conf_name;  // of the list
    std::string socket;     // of the agent, for the plugin
    std::string plugin;     // the file to install
    [[nodiscard]] std::string binary() const { return bin_dir + "/weft-cni"; }
    [[nodiscard]] std::string loopback() const { return bin_dir + "/loopback"; }
    [[nodiscard]] std::string list() const { return conf_dir + "/" + conf_name; }
  };
  // The plugin lies beside this very program.
  static Options options(const Config& config);

  explicit CniInstall(Options options) : options_(std::move(options)) {}
  // Once a second: installs what is missing or another. `can_attach`: pods can be; the list waits for that once.
  // What was put back after it had been there.
  std::vector<std::string> check(bool can_attach);
  // By "cni plugin" and "cni list"; empty: all is as it should be, or waits.
  [[nodiscard]] const std::map<std::string, Fault>& faults() const { return faults_; }
  [[nodiscard]] bool list_installed() const { return list_written_; }

 private:
  // Whether it was written; an error says why it cannot be.
  Result<bool> keep_plugin();
  Result<bool> keep_loopback();
  Result<void> put_program(const std::string& target, const std::string& content);
  Result<bool> keep_list();

  Options options_;
  std::map<std::string, Fault> faults_;
  std::string plugin_seen_;  // of both files, as they were when they were found to be the same
  std::string loopback_seen_;
  bool loopback_written_ = false;
  bool plugin_written_ = false;
  bool list_written_ = false;
};

// The list's text.
std::string cni_list(const std::string& socket);
// Whether a text of that name is Weft's own: a list that names the plugin; the program, of whatever version.
bool is_weft_list(std::string_view text);
bool is_weft_plugin(std::string_view text);

// Takes both away, as far as they are Weft's. Absent is success.
Result<void> remove_cni(const CniInstall::Options& options, const std::function<void(const std::string&)>& tell);

}  // namespace weft::agent
