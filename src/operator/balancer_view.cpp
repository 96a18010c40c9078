#include "operator/balancer_view.h"

#include <algorithm>

#include "model/parse.h"
#include "operator/conditions.h"
#include "operator/json_parts.h"

namespace weft::op {
namespace {

using nlohmann::json;

constexpr auto own_class_name = "weft.io/load-balancer";

void read_ingress(const json& status, BalancedView& view) {
  for (const auto& entry : part(part(status, "loadBalancer"), "ingress", json::array())) {
    const auto address = IpAddress::parse(text(entry, "ip"));
    if (!address || !text(entry, "hostname").empty() || text(entry, "ipMode") == "Proxy") view.strange_ingress = true;
    if (address) view.ingress.push_back(*address);
  }
}

template <class View>
void read_metadata(const json& object, View& view) {
  const auto metadata = part(object, "metadata");
  view.key = {text(metadata, "namespace"), text(metadata, "name")};
  view.uid = text(metadata, "uid");
  view.created = text(metadata, "creationTimestamp");
  view.generation = generation_of(metadata);
}

}  // namespace

BalancedView::Mark BalancedView::mark() const {
  const auto* condition = find_condition(conditions, address_condition);
  if (condition == nullptr) return Mark::none;
  return text(*condition, "status") == "True" ? Mark::given : Mark::waits;
}

std::shared_ptr<const BalancedView> read_balanced(std::string_view server, std::string_view text_of_it) {
  // Most Services are no load balancers, and need not be read.
  if (text_of_it.find("\"LoadBalancer\"") == std::string_view::npos &&
      text_of_it.find(address_condition) == std::string_view::npos)
    return nullptr;
  const auto object = json::parse(text_of_it, nullptr, false);
  if (!object.is_object()) return nullptr;
  auto view = std::make_shared<BalancedView>();
  read_metadata(object, *view);
  const auto spec = part(object, "spec");
  const auto status = part(object, "status");
  view->balancer = text(spec, "type") == "LoadBalancer";
  view->conditions = part(status, "conditions", json::array());
  const auto name = text(spec, "loadBalancerClass");
  view->own_class = name == own_class_name;
  view->other_class = !name.empty() && !view->own_class;
  read_ingress(status, *view);
  if (!view->balancer) return view->mark() != BalancedView::Mark::none ? view : nullptr;
  auto read = model::object_from_api(model::Kind::service, server, text_of_it);
  if (!read)
    view->problem = read.error().message;
  else if (auto* service = std::get_if<model::Service>(&read->object); service != nullptr)
    view->service = std::move(*service);
  // Another proxy's, by its label.
  if (view->service && !view->service->proxy_name.empty()) view->other_class = true;
  return view;
}

std::shared_ptr<const PoolView> read_pool(std::string_view server, std::string_view text_of_it,
                                          const PoolView* before) {
  const auto object = json::parse(text_of_it, nullptr, false);
  auto view = std::make_shared<PoolView>();
  read_metadata(object, *view);
  view->status = part(object, "status");
  auto read = model::object_from_api(model::Kind::load_balancer_pool, server, text_of_it);
  auto* pool = read ? std::get_if<model::LoadBalancerPool>(&read->object) : nullptr;
  if (pool != nullptr)
    view->pool = std::move(*pool);
  else if (!read)
    view->problem = read.error().message;
  if (!view->pool && before != nullptr && before->uid == view->uid) view->pool = before->pool;
  return view;
}

std::uint64_t size_of(const model::LoadBalancerPool& pool) {
  constexpr std::uint64_t most = std::uint64_t{1} << 62;
  std::uint64_t sum = 0;
  for (const auto& range : pool.ranges) {
    const auto& first = range.first.bytes();
    const auto& last = range.last.bytes();
    std::uint64_t size = 0;
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (size > most >> 8U) {
        size = most;
        break;
      }
      // What is borrowed from the byte above is given back there.
      size = size * 256 + last[i] - first[i];
    }
    sum = std::min(most, sum + std::min(most, size) + 1);
  }
  return sum;
}

bool contains(const model::LoadBalancerPool& pool, const IpAddress& address) {
  return std::ranges::any_of(pool.ranges, [&](const model::AddressRange& range) {
    return range.first.family() == address.family() && range.first <= address && address <= range.last;
  });
}

}  // namespace weft::op
