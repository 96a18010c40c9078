#include "sources/kubernetes/kubeconfig.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "sys/system.h"

namespace weft::kubernetes {
namespace {

std::unexpected<Error> wrong(std::string message, std::string hint = {}) {
  return fail(ErrorCode::invalid, std::move(message), std::move(hint));
}

// A kubeconfig is small; yaml-cpp's tree of a hostile one is not.
constexpr std::size_t most_bytes = 1UL << 20;

class Parser {
 public:
  Parser(const std::string& path, const AccessOptions& options, const FileReader& read)
      : path_(path), options_(options), read_(read) {}

  Result<Access> parse(const YAML::Node& document) {
    if (!document.IsMap()) return wrong(path_ + ": expected a kubeconfig, a mapping with clusters, users and contexts");
    WEFT_TRY(const auto context, chosen_context(document));
    access_.origin = fmt::format("{}, context '{}'", path_, context_);
    WEFT_TRY(const auto name, text(context, "cluster"));
    if (!name) return wrong(at(context) + ": the context names no cluster", "add \"cluster: NAME\" to it");
    WEFT_TRY(const auto cluster, named(document, "clusters", "cluster", *name));
    WEFT_CHECK(take_cluster(cluster));
    WEFT_TRY(const auto user, text(context, "user"));
    if (user && !user->empty()) {
      WEFT_TRY(const auto found, named(document, "users", "user", *user));
      WEFT_CHECK(take_user(found));
    }
    WEFT_TRY(const auto space, text(context, "namespace"));
    access_.namespace_name = space.value_or("");
    return std::move(access_);
  }

 private:
  [[nodiscard]] std::string at(const YAML::Node& node) const {
    const auto mark = node.Mark();
    return mark.is_null() ? path_ : fmt::format("{}:{}:{}", path_, mark.line + 1, mark.column + 1);
  }

  // The value of a key that is text; nothing where the key is missing or null.
  Result<std::optional<std::string>> text(const YAML::Node& map, const char* key) const {
    const auto node = map[key];
    if (!node || node.IsNull()) return std::optional<std::string>();
    if (!node.IsScalar()) return wrong(fmt::format("{}: {}: expected text", at(node), key));
    return std::optional<std::string>(node.Scalar());
  }

  Result<bool> flag(const YAML::Node& map, const char* key) const {
    const auto node = map[key];
    if (!node || node.IsNull()) return false;
    bool value = false;
    if (!node.IsScalar() || !YAML::convert<bool>::decode(node, value))
      return wrong(fmt::format("{}: {}: expected true or false", at(node), key));
    return value;
  }

  // `clusters: [{name: NAME, cluster: {...}}]`, and the same of users and contexts.
  Result<YAML::Node> named(const YAML::Node& document, const char* list, const char* kind, const std::string& name) {
    const auto items = document[list];
    if (items && !items.IsNull() && !items.IsSequence())
      return wrong(fmt::format("{}: {}: expected a list", at(items), list));
    std::string known;
    for (std::size_t i = 0; items && i < items.size(); ++i) {
      const auto item = items[i];
      if (!item.IsMap()) return wrong(fmt::format("{}: {}: expected a mapping with a name", at(item), list));
      WEFT_TRY(const auto its_name, text(item, "name"));
      if (its_name) known += (known.empty() ? "" : ", ") + *its_name;
      if (its_name != name) continue;
      auto body = item[kind];
      if (!body || !body.IsMap())
        return wrong(fmt::format("{}: {} '{}' has no mapping \"{}\"", at(item), kind, name, kind));
      return body;
    }
    return wrong(fmt::format("{}: there is no {} '{}' among {}", path_, kind, name, list),
                 known.empty() ? fmt::format("{} is empty: add it there", list) : fmt::format("there are: {}", known));
  }

  Result<YAML::Node> chosen_context(const YAML::Node& document) {
    context_ = options_.context;
    if (context_.empty()) {
      WEFT_TRY(const auto current, text(document, "current-context"));
      context_ = current.value_or("");
    }
    if (context_.empty())
      return wrong(path_ + ": there is no current-context",
                   "set it with \"kubectl config use-context NAME\", or name a context");
    return named(document, "contexts", "context", context_);
  }

  // The first of the keys that is there is refused.
  Result<void> refuse(const YAML::Node& map, std::initializer_list<const char*> keys, const char* why,
                      const char* hint) const {
    for (const auto* key : keys) {
      const auto node = map[key];
      if (!node || node.IsNull() || (node.IsScalar() && node.Scalar().empty())) continue;
      return fail(ErrorCode::unsupported, fmt::format("{}: {}: {}", at(node), key, why), hint);
    }
    return {};
  }

  // `<key>-data`, base64, goes before the file named by `<key>`.
  Result<std::string> pem(const YAML::Node& map, const std::string& key) {
    std::string content;
    std::string place;
    const std::string data_key = key + "-data";
    WEFT_TRY(const auto data, text(map, data_key.c_str()));
    WEFT_TRY(const auto file, text(map, key.c_str()));
    if (data && !data->empty()) {
      place = at(map[data_key]);
      auto decoded = decode_base64(*data);
      if (!decoded) return fail(decoded.error().in(data_key).in(place));
      content = std::move(*decoded);
    } else if (file && !file->empty()) {
      place = at(map[key]);
      auto read = read_(beside(*file));
      if (!read) return fail(read.error().in(key).in(place));
      content = std::move(*read);
    } else {
      return std::string();
    }
    if (content.find("-----BEGIN ") == std::string::npos)
      return wrong(fmt::format("{}: {}: this is not PEM, there is no \"-----BEGIN\"", place, key));
    return content;
  }

  // Paths count from the kubeconfig's directory.
  [[nodiscard]] std::string beside(const std::string& file) const {
    const auto slash = path_.rfind('/');
    return file.starts_with('/') || slash == std::string::npos ? file : path_.substr(0, slash + 1) + file;
  }

  Result<void> take_cluster(const YAML::Node& cluster) {
    WEFT_CHECK(refuse(cluster, {"proxy-url"}, "API servers behind a proxy are not supported",
                      "take it out and give the address of a server that this host reaches by itself"));
    access_.servers.clear();
    for (const auto& given : options_.servers) {
      WEFT_TRY(auto server, parse_server(given));
      access_.servers.push_back(std::move(server));
    }
    WEFT_TRY(const auto server, text(cluster, "server"));
    if (server && !server->empty()) {
      auto parsed = parse_server(*server);
      if (!parsed) return fail(parsed.error().in(at(cluster["server"]) + ": server"));
      if (std::find(access_.servers.begin(), access_.servers.end(), *parsed) == access_.servers.end())
        access_.servers.push_back(std::move(*parsed));
    }
    if (access_.servers.empty())
      return wrong(at(cluster) + ": the cluster has no server", "add \"server: https://ADDRESS:6443\" to it");
    WEFT_TRY(access_.ca_pem, pem(cluster, "certificate-authority"));
    WEFT_TRY(access_.insecure, flag(cluster, "insecure-skip-tls-verify"));
    if (access_.insecure && !access_.ca_pem.empty())
      return wrong(at(cluster) + ": insecure-skip-tls-verify and a certificate-authority exclude each other",
                   "take insecure-skip-tls-verify out");
    WEFT_TRY(const auto name, text(cluster, "tls-server-name"));
    access_.tls_server_name = name.value_or("");
    return {};
  }

  Result<void> take_user(const YAML::Node& user) {
    WEFT_CHECK(refuse(user, {"auth-provider"}, "kubectl has none of these any more since 1.26",
                      "use exec, a token, a tokenFile or a client certificate"));
    if (!options_.programs)
      WEFT_CHECK(refuse(user, {"exec"}, "credentials got by running a program are for people, not for services",
                        "use a token, a tokenFile or a client certificate, for example a service account's"));
    WEFT_CHECK(refuse(user, {"username", "password"}, "API servers do not take passwords since Kubernetes 1.19",
                      "use a token, a tokenFile or a client certificate"));
    WEFT_CHECK(refuse(user, {"as", "as-uid", "as-groups", "as-user-extra"}, "acting as another user is not supported",
                      "use that user's own credentials"));
    WEFT_TRY(access_.certificate_pem, pem(user, "client-certificate"));
    WEFT_TRY(access_.key_pem, pem(user, "client-key"));
    if (access_.certificate_pem.empty() != access_.key_pem.empty())
      return wrong(at(user) + ": a client certificate and its key come together",
                   access_.key_pem.empty() ? "add client-key or client-key-data"
                                           : "add client-certificate or client-certificate-data");
    WEFT_TRY(const auto token, text(user, "token"));
    WEFT_TRY(const auto file, text(user, "tokenFile"));
    access_.token = token.value_or("");
    if (access_.token.find_first_of(std::string_view("\r\n\0 ", 4)) != std::string::npos)
      return wrong(at(user["token"]) + ": token: a token has neither spaces nor line breaks");
    if (file && !file->empty()) access_.token_file = beside(*file);
    // What is written there goes before it, as kubectl has it.
    if (const auto program = user["exec"]; program && !program.IsNull() && access_.token.empty() &&
                                           access_.token_file.empty() && access_.certificate_pem.empty())
      return take_program(program);
    return {};
  }

  Result<void> take_program(const YAML::Node& program) {
    LoginProgram login{.origin = at(program) + ": exec"};
    if (!program.IsMap()) return wrong(login.origin + ": expected a mapping with a command");
    WEFT_TRY(const auto version, text(program, "apiVersion"));
    login.api_version = version.value_or("");
    if (login.api_version != "client.authentication.k8s.io/v1" &&
        login.api_version != "client.authentication.k8s.io/v1beta1")
      return wrong(fmt::format("{}: apiVersion \"{}\" is not known", login.origin, login.api_version),
                   "client.authentication.k8s.io/v1 and v1beta1 are: let the tool that wrote it write it again");
    WEFT_TRY(const auto command, text(program, "command"));
    if (!command || command->empty()) return wrong(login.origin + ": there is no command");
    login.command.push_back(command->find('/') == std::string::npos ? *command : beside(*command));
    WEFT_CHECK(each(program, "args", [&](const YAML::Node& argument) -> Result<void> {
      if (!argument.IsScalar()) return wrong(at(argument) + ": args: expected text");
      login.command.push_back(argument.Scalar());
      return {};
    }));
    WEFT_CHECK(each(program, "env", [&](const YAML::Node& variable) -> Result<void> {
      if (!variable.IsMap()) return wrong(at(variable) + ": env: expected a name and a value");
      WEFT_TRY(const auto name, text(variable, "name"));
      WEFT_TRY(const auto value, text(variable, "value"));
      if (!name || name->empty() || name->find('=') != std::string::npos)
        return wrong(at(variable) + ": env: expected a name and a value");
      login.environment[*name] = value.value_or("");
      return {};
    }));
    WEFT_TRY(const auto mode, text(program, "interactiveMode"));
    if (mode == "Always")
      return fail(ErrorCode::unsupported, login.origin + ": interactiveMode: Always: weft asks nothing on a terminal",
                  "log in by the tool itself, or use a token (kubectl create token)");
    WEFT_TRY(const auto hint, text(program, "installHint"));
    login.hint = hint.value_or("");
    WEFT_TRY(login.cluster_info, flag(program, "provideClusterInfo"));
    access_.login = std::move(login);
    return {};
  }

  // Of a list that may be missing.
  Result<void> each(const YAML::Node& map, const char* key,
                    const std::function<Result<void>(const YAML::Node&)>& take) const {
    const auto items = map[key];
    if (!items || items.IsNull()) return {};
    if (!items.IsSequence()) return wrong(fmt::format("{}: {}: expected a list", at(items), key));
    for (const auto& item : items) WEFT_CHECK(take(item));
    return {};
  }

  const std::string& path_;
  const AccessOptions& options_;
  const FileReader& read_;
  std::string context_;
  Access access_;
};

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

Result<std::string> parse_server(std::string_view text) {
  std::string_view scheme = "https://";
  std::string_view rest = text;
  if (rest.starts_with("http://")) scheme = "http://";
  if (rest.starts_with(scheme))
    rest.remove_prefix(scheme.size());
  else if (rest.find("://") != std::string_view::npos)
    return wrong(fmt::format("\"{}\": expected https:// or http://", text));
  while (rest.ends_with('/')) rest.remove_suffix(1);
  const auto host = rest.substr(0, rest.find('/'));
  for (const char byte : rest)
    if (byte <= ' ' || byte > '~' || std::string_view("@?#\\\"<>").find(byte) != std::string_view::npos)
      return wrong(fmt::format("\"{}\": this is no address of a server", text), "write https://HOST:PORT");
  std::string_view name = host;
  std::string_view port;
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    if (end == std::string_view::npos) return wrong(fmt::format("\"{}\": a \"]\" is missing", text));
    name = host.substr(0, end + 1);
    port = host.substr(end + 1);
    if (!port.empty() && port.front() != ':') return wrong(fmt::format("\"{}\": expected a port after \"]\"", text));
  } else if (const auto colon = host.find(':'); colon != std::string_view::npos) {
    name = host.substr(0, colon);
    port = host.substr(colon);
    if (port.find(':', 1) != std::string_view::npos)
      return wrong(fmt::format("\"{}\": an IPv6 address is written in brackets", text),
                   "write https://[2001:db8::1]:6443");
  }
  if (name.empty() || name == "[]") return wrong(fmt::format("\"{}\": there is no host", text));
  if (!port.empty()) {
    int number = 0;
    for (const char digit : port.substr(1)) {
      if (digit < '0' || digit > '9' || number > 65535) return wrong(fmt::format("\"{}\": this is no port", text));
      number = (number * 10) + (digit - '0');
    }
    if (number == 0 || number > 65535) return wrong(fmt::format("\"{}\": a port is 1 to 65535", text));
  }
  return std::string(scheme) + std::string(rest);
}

Result<Access> parse_kubeconfig(const std::string& path, std::string_view text, const AccessOptions& options,
                                const FileReader& read) {
  if (text.size() > most_bytes) return wrong(path + ": a kubeconfig is at most 1 MiB");
  try {
    return Parser(path, options, read).parse(YAML::Load(std::string(text)));
  } catch (const YAML::ParserException& exception) {
    return wrong(fmt::format("{}:{}:{}: this is not YAML: {}", path, exception.mark.line + 1, exception.mark.column + 1,
                             exception.msg));
  } catch (const YAML::Exception& exception) {
    return wrong(fmt::format("{}: this is no kubeconfig: {}", path, exception.msg));
  }
}

Result<Access> read_kubeconfig(const std::string& path, const AccessOptions& options) {
  auto text = sys::read_file(path);
  if (!text) {
    auto error = text.error();
    error.hint = "give the path of a kubeconfig that this user may read, or run in a pod";
    return fail(error.in("kubeconfig"));
  }
  return parse_kubeconfig(path, *text, options, [](const std::string& file) { return sys::read_file(file); });
}

InCluster in_cluster_environment() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  return {.host = variable("KUBERNETES_SERVICE_HOST"), .port = variable("KUBERNETES_SERVICE_PORT")};
}

Result<Access> in_cluster(const InCluster& where, const AccessOptions& options) {
  Access access;
  for (const auto& given : options.servers) {
    WEFT_TRY(auto server, parse_server(given));
    access.servers.push_back(std::move(server));
  }
  if (!where.host.empty()) {
    const bool v6 = where.host.find(':') != std::string::npos;
    auto server = parse_server(fmt::format("https://{}{}{}:{}", v6 ? "[" : "", where.host, v6 ? "]" : "",
                                           where.port.empty() ? "443" : where.port));
    if (!server) return fail(server.error().in("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"));
    access.servers.push_back(std::move(*server));
  }
  if (access.servers.empty())
    return fail(ErrorCode::not_found,
                "KUBERNETES_SERVICE_HOST is not set: this is not a pod, or it has no service account",
                "give a kubeconfig, or the addresses of the API servers");
  const auto read = [&where](const char* name) -> Result<std::string> {
    auto text = sys::read_file(where.directory + "/" + name);
    if (text) return text;
    auto error = text.error();
    error.hint = "does the pod have automountServiceAccountToken: false? Give it a service account, or a kubeconfig";
    return fail(std::move(error));
  };
  WEFT_TRY(access.token, read("token"));
  access.token = trimmed(std::move(access.token));
  access.token_file = where.directory + "/token";
  WEFT_TRY(access.ca_pem, read("ca.crt"));
  if (access.ca_pem.find("-----BEGIN ") == std::string::npos)
    return wrong(where.directory + "/ca.crt: this is not PEM, there is no \"-----BEGIN\"");
  // Not in every pod that has the rest.
  access.namespace_name = trimmed(sys::read_file(where.directory + "/namespace").value_or(""));
  access.origin = "the pod's service account, " + where.directory;
  return access;
}

}  // namespace weft::kubernetes
