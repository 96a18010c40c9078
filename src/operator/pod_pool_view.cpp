#include "operator/pod_pool_view.h"

#include <algorithm>

#include "model/parse.h"
#include "operator/json_parts.h"

namespace weft::op {

using nlohmann::json;

bool PodPoolView::has_finalizer() const {
  return std::ranges::find(finalizers, json(pool_finalizer)) != finalizers.end();
}

std::shared_ptr<const PodPoolView> read_pod_pool(std::string_view server, std::string_view text_of_it) {
  const auto object = json::parse(text_of_it, nullptr, false);
  auto view = std::make_shared<PodPoolView>();
  const auto metadata = part(object, "metadata");
  view->name = text(metadata, "name");
  view->uid = text(metadata, "uid");
  view->created = text(metadata, "creationTimestamp");
  view->generation = generation_of(metadata);
  view->deleting = !text(metadata, "deletionTimestamp").empty();
  view->finalizers = part(metadata, "finalizers", json::array());
  view->status = part(object, "status");
  const auto read = model::object_from_api(model::Kind::pod_address_pool, server, text_of_it);
  if (!read) {
    view->problem = read.error().message;
    return view;
  }
  if (const auto* pool = std::get_if<model::PodAddressPool>(&read->object)) {
    view->pool = cluster::Pool{.name = view->name, .ranges = {}};
    for (const auto& range : pool->ranges) view->pool->ranges.push_back({range.cidr, range.block_length});
  }
  return view;
}

json cidrs_json(const cluster::Pool& pool) {
  auto list = json::array();
  for (const auto& range : pool.ranges)
    list.push_back({{"cidr", range.cidr.to_string()}, {"blockLength", range.block_length}});
  return list;
}

std::uint64_t size_of(const cluster::Pool& pool) {
  constexpr std::uint64_t most = std::uint64_t{1} << 62U;
  std::uint64_t sum = 0;
  for (const auto& range : pool.ranges) {
    const unsigned bits = 128 - range.cidr.mapped_length();
    sum = std::min(most, sum + (bits >= 62 ? most : std::uint64_t{1} << bits));
  }
  return sum;
}

}  // namespace weft::op
