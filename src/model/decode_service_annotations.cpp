#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "model/annotations.h"
#include "model/decode_service.h"
#include "model/names.h"

namespace weft::model {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t least_table = 251;
constexpr std::uint32_t most_table = 131071;

bool is_prime(std::uint32_t number) {
  if (number < 2) return false;
  for (std::uint32_t divisor = 2; divisor * divisor <= number; ++divisor)
    if (number % divisor == 0) return false;
  return true;
}

std::uint32_t prime_near(std::uint32_t number) {
  for (std::uint32_t step = 0;; ++step) {
    if (number + step <= most_table && is_prime(number + step)) return number + step;
    if (is_prime(number - step)) return number - step;
  }
}

void decode_table_size(Annotations& annotations, Service& service) {
  const auto size = annotations.take("maglev-table-size");
  if (!size) return;
  const auto number = size->number(least_table, most_table);
  if (!number) return;
  if (!is_prime(*number))
    size->expected(fmt::format("a prime number such as {}", prime_near(*number)));
  else if (service.algorithm.value_or(Algorithm::maglev) != Algorithm::maglev)
    size->value.warning(fmt::format("has no effect with weft.io/algorithm: {}; only maglev has a table",
                                    to_string(*service.algorithm)));
  service.maglev_table_size = *number;
}

void decode_local_redirect(Annotations& annotations, Service& service) {
  constexpr std::string_view what = "the labels of the pods to redirect to, such as app=dns or app=dns,tier=node";
  const auto redirect = annotations.take("local-redirect");
  if (!redirect) return;
  LabelMap labels;
  for (const auto& part : redirect->parts(what)) {
    const auto equals = part.find('=');
    if (equals == std::string::npos) return redirect->expected(what);
    auto key = part.substr(0, equals);
    auto text = part.substr(equals + 1);
    if (const auto wrong = check_label_key(key); !wrong.empty())
      return redirect->value.problem(fmt::format("label {}: {}", in_quotes(key), wrong));
    if (const auto wrong = check_label_value(text); !wrong.empty())
      return redirect->value.problem(fmt::format("label value {}: {}", in_quotes(text), wrong));
    if (!labels.emplace(std::move(key), std::move(text)).second)
      return redirect->value.problem(fmt::format("the label {} is given twice", in_quotes(part.substr(0, equals))));
  }
  if (!labels.empty()) service.local_redirect = std::move(labels);
}

void decode_requested_addresses(Annotations& annotations, Service& service) {
  constexpr std::string_view what = "addresses joined by commas, such as 10.0.0.5 or 10.0.0.5,fd00::5";
  const auto given = annotations.take("load-balancer-ips");
  if (!given) return;
  const bool balanced = service.type == Service::Type::load_balancer;
  if (!balanced) given->value.warning("has no effect: the Service is not of type LoadBalancer");
  std::vector<IpAddress> addresses;
  std::set<IpAddress> seen;
  for (const auto& part : given->parts(what)) {
    const auto address = IpAddress::parse(part);
    if (!address) {
      given->value.problem(fmt::format("expected {}, found {}", what, in_quotes(part)));
    } else if (!is_service_address(*address)) {
      given->value.problem(fmt::format("expected an address a Service can have, found {}", address->to_string()));
    } else if (!seen.insert(*address).second) {
      given->value.problem(fmt::format("the address {} is given twice", address->to_string()));
    } else {
      addresses.push_back(*address);
    }
  }
  const std::set<IpAddress> before(service.load_balancer_ips.begin(), service.load_balancer_ips.end());
  for (const auto& address : addresses)
    if (balanced && !before.contains(address)) service.load_balancer_ips.push_back(address);
}

void decode_sharing_key(Annotations& annotations, Service& service) {
  const auto key = annotations.take("sharing-key");
  if (!key) return;
  if (const auto wrong = check_label_value(key->text); !wrong.empty())
    key->value.problem(fmt::format("{}, found {}", wrong, in_quotes(key->text)));
  else if (key->text.empty())
    key->expected("a name that the Services sharing an address have in common");
  else if (service.type != Service::Type::load_balancer)
    key->value.warning("has no effect: the Service is not of type LoadBalancer");
  service.sharing_key = key->text;
}

// A request line and a header are made of these: nothing in them may end the line.
bool is_path(std::string_view text) {
  return text.starts_with('/') && text.size() <= 1024 &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

bool is_host(std::string_view text) {
  return !text.empty() && text.size() <= 255 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_' || c == ':' || c == '[' || c == ']';
  });
}

void decode_request(Annotations& annotations, HealthCheck& check, std::vector<Annotation>& given) {
  const auto path = annotations.take("health-check-path");
  if (path) {
    if (!is_path(path->text)) path->expected("a path such as /healthz: \"/\" and printable characters without spaces");
    check.path = path->text;
  }
  const auto host = annotations.take("health-check-host");
  if (host) {
    if (!is_host(host->text)) host->expected("a host name such as web.example or web.example:8080");
    check.host = host->text;
  }
  for (const auto& one : {path, host}) {
    if (!one) continue;
    given.push_back(*one);
    if (check.kind == HealthCheck::Kind::tcp)
      one->value.warning("has no effect with weft.io/health-check: tcp; a request is sent with http only");
  }
}

void decode_times(Annotations& annotations, HealthCheck& check, std::vector<Annotation>& given) {
  using namespace std::chrono_literals;
  if (const auto interval = annotations.take("health-check-interval")) {
    check.interval = interval->duration(100ms, 1h).value_or(check.interval);
    given.push_back(*interval);
  }
  // The default must not make a short interval wrong.
  check.timeout = std::min(check.timeout, check.interval);
  if (const auto timeout = annotations.take("health-check-timeout")) {
    if (const auto decoded = timeout->duration(10ms, 10s)) {
      check.timeout = *decoded;
      if (check.timeout > check.interval)
        timeout->expected(
            fmt::format("a duration not above weft.io/health-check-interval, {} ms", check.interval.count()));
    }
    given.push_back(*timeout);
  }
}

void decode_health_check(Annotations& annotations, Service& service) {
  HealthCheck& check = service.health_check;
  const auto kind = annotations.take("health-check");
  const auto word = kind ? kind->word({"none", "tcp", "http"}) : std::nullopt;
  if (word)
    check.kind = *word == "tcp"    ? HealthCheck::Kind::tcp
                 : *word == "http" ? HealthCheck::Kind::http
                                   : HealthCheck::Kind::none;
  std::vector<Annotation> given;  // that mean nothing without a check
  if (const auto port = annotations.take("health-check-port")) {
    check.port = static_cast<std::uint16_t>(port->number(1, 65535).value_or(0));
    given.push_back(*port);
  }
  decode_request(annotations, check, given);
  decode_times(annotations, check, given);
  for (const auto& [name, count] : {std::pair("health-check-rise", &check.rise), {"health-check-fall", &check.fall}})
    if (const auto times = annotations.take(name)) {
      *count = times->number(1, 100).value_or(1);
      given.push_back(*times);
    }
  if (!kind)
    for (const auto& one : given)
      one.value.problem(fmt::format("weft.io/{} needs weft.io/health-check: tcp or http", one.name));
}

// Passed over in silence this one would leave open what its author closed.
void warn_of_foreign_ranges(const Value& object, const Service& service) {
  constexpr std::string_view foreign = "service.beta.kubernetes.io/load-balancer-source-ranges";
  const auto meta = object.member("metadata");
  const auto annotations = meta ? meta->member("annotations") : std::nullopt;
  if (service.type != Service::Type::load_balancer || !annotations) return;
  if (const auto ranges = annotations->member(foreign); ranges && service.source_ranges.empty())
    ranges->warning("Weft does not act on this annotation; write the ranges into spec.loadBalancerSourceRanges");
}

}  // namespace

void decode_service_annotations(const Value& object, Service& service) {
  Annotations annotations(object);
  const auto algorithm = annotations.take("algorithm");
  if (algorithm)
    if (const auto word = algorithm->word({"random", "round-robin", "least-connections", "maglev", "source-hash"}))
      service.algorithm = parse_algorithm(*word).value();
  const auto forwarding = annotations.take("forwarding");
  if (forwarding)
    if (const auto word = forwarding->word({"snat", "dsr-ipip", "dsr-geneve", "dsr-option"}))
      service.forwarding = parse_forwarding(*word).value();
  decode_table_size(annotations, service);
  decode_local_redirect(annotations, service);
  decode_requested_addresses(annotations, service);
  decode_sharing_key(annotations, service);
  decode_health_check(annotations, service);
  annotations.finish("a Service");
  warn_of_foreign_ranges(object, service);
  if (service.headless || service.type == Service::Type::external_name)
    for (const auto* name : {"algorithm", "forwarding", "maglev-table-size", "local-redirect", "health-check"})
      if (const auto given = annotations.take(name))
        given->value.warning("has no effect on a Service without a ClusterIP");
}

}  // namespace weft::model
