// Attaching containers: what the CNI plugin asks for (docs/api.md cni.*). Each step is written to
// the store before it is made in the kernel, so that a kill at any line leaves a record from which
// `recover` finishes or undoes. One owner thread; only the removal of devices happens elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "agent/reaper.h"
#include "base/fd.h"
#include "base/result.h"
#include "control/ipam/ipam.h"
#include "datapath/datapath.h"
#include "sources/store/store.h"
#include "sys/netlink.h"

namespace weft::agent {

// Of the host side of every pod's veth: one for all, so that a packet for the gateway needs no
// rewrite whichever pod it is redirected to. Locally administered.
inline constexpr MacAddress gateway_mac{{0x02, 0x57, 0x45, 0x46, 0x54, 0x01}};

// A request as the plugin sends it.
struct AttachRequest {
  store::EndpointKey key;
  std::string netns;
  std::string namespace_;  // K8S_POD_NAMESPACE, or "default"
  std::string pod;         // K8S_POD_NAME, or the container id
  bool pod_named = false;
  std::string pod_uid;               // K8S_POD_UID; may be empty
  std::string network;               // "name" of the configuration
  std::vector<IpAddress> addresses;  // requested
  std::optional<MacAddress> mac;     // requested
  std::uint32_t mtu = 0;             // requested, 0: the node's
  LabelMap labels;                   // container:...
  std::vector<store::PortMapping> port_mappings;
};

// What attaching needs of the kernel beside the node's own netlink.
class PodKernel {
 public:
  virtual ~PodKernel() = default;
  virtual Result<Fd> open_netns(const std::string& path) = 0;
  virtual Result<std::uint64_t> netns_cookie(int netns) = 0;
  virtual Result<std::uint64_t> netns_inode(int netns) = 0;
  virtual Result<std::unique_ptr<sys::Netlink>> open_netlink(int netns) = 0;
  // Runtimes may hand over a namespace with IPv6 switched off.
  virtual Result<void> enable_ipv6(int netns, const std::string& ifname) = 0;
  virtual Result<void> attach_programs(std::uint32_t ifindex) = 0;
  virtual Result<bool> programs_attached(std::uint32_t ifindex) = 0;
};
std::unique_ptr<PodKernel> real_pod_kernel(datapath::Datapath& datapath);

Result<AttachRequest> parse_attach(const nlohmann::json& params);

class Attachment {
 public:
  // Called with the records changed and before an ADD is answered: compiles and writes the maps.
  using Publish = std::function<Result<void>()>;
  // Asked before anything is made for a new attachment; an error refuses it.
  using Admit = std::function<Result<void>(const AttachRequest& request)>;
  // Which addresses it is to have; the error does not name the pod. Without it: those it asks for, else any of the
  // first pool.
  using Choose = std::function<Result<control::AddressRequest>(const AttachRequest& request)>;
  // Called between any two steps with the name of what has just been done; tests end the process there.
  using Checkpoint = std::function<void(const char* done)>;

  Attachment(store::Store& store, sys::Netlink& netlink, PodKernel& pods, control::Ipam& ipam, Publish publish);

  // Brings records and kernel together after a start: undoes half-made attachments, finishes
  // removals, drops records whose namespace is gone. Before the first publish.
  Result<void> recover(std::vector<std::string>& notes);
  // Programs onto the devices of all ready records; after the first publish.
  void adopt(std::vector<std::string>& notes);

  Result<nlohmann::json> add(const AttachRequest& request);
  void acknowledge(const store::EndpointKey& key);
  Result<void> remove(const store::EndpointKey& key);
  Result<void> check(const AttachRequest& request, const nlohmann::json& previous_result);
  // Removes everything of `network` that is not in `valid`; goes on past errors and returns the first.
  Result<std::vector<store::EndpointKey>> collect(const std::string& network,
                                                  const std::set<store::EndpointKey>& valid);

  // Devices the reaper has taken down: their records end now. Called on the owner thread.
  void reaped(const store::EndpointKey& key);
  // Records whose device is gone behind our back leave the maps until DEL comes.
  bool notice_lost_devices();
  // Records whose device is gone, and for which a runtime may never say DEL: their pod has another sandbox by now, or
  // `gone` says that the pod itself is no more.
  [[nodiscard]] std::vector<store::EndpointKey> abandoned(
      const std::function<bool(const store::EndpointRecord& record)>& gone) const;
  // Attaches programs again that somebody took off, asking for those of `most` endpoints, the next
  // ones the next time. Returns what was repaired.
  std::vector<std::string> heal_programs(std::size_t most);
  struct Healing {
    std::vector<std::string> repaired;
    std::map<std::string, std::string> failed;  // what is wrong, by the endpoint's owner
  };
  // Sets the host's devices, routes and neighbours again where they are not as ADD left them.
  Healing heal_hosts();
  void expire_quarantine();
  // Goes on with removals that failed; the reaper's own are left to it.
  void finish_removals();

  [[nodiscard]] const std::map<store::EndpointKey, store::EndpointRecord>& records() const { return records_; }
  // A namespace that is never given an interface: the node's own.
  void set_node_netns(std::uint64_t cookie) { node_netns_ = cookie; }
  void set_pod_mtu(std::uint32_t mtu) { pod_mtu_ = mtu; }
  [[nodiscard]] Reaper& reaper() { return *reaper_; }
  void set_reaper(std::unique_ptr<Reaper> reaper) { reaper_ = std::move(reaper); }
  void set_admit(Admit admit) { admit_ = std::move(admit); }
  void set_choose(Choose choose) { choose_ = std::move(choose); }
  void set_checkpoint(Checkpoint checkpoint) { checkpoint_ = std::move(checkpoint); }

 private:
  Result<void> make_record(const AttachRequest& request, int netns, store::EndpointRecord& record);
  Result<std::vector<IpAddress>> give_addresses(const AttachRequest& request);
  Result<void> free_named(const store::EndpointKey& key, const IpAddress& address);
  Result<void> make_devices(store::EndpointRecord& record, int netns, std::uint32_t mtu);
  Result<void> configure_pod(const store::EndpointRecord& record, int netns);
  Result<void> configure_host(const store::EndpointRecord& record);
  // The kernel's side of all endpoints, read at once.
  struct HostSide {
    std::map<int, sys::Device> devices;
    std::map<std::pair<int, Cidr>, sys::Route> routes;
    std::map<std::pair<int, IpAddress>, MacAddress> neighbours;
  };
  Result<HostSide> read_host_side();
  std::string host_fault(const HostSide& host, const store::EndpointRecord& record) const;
  Result<void> make_way(std::uint64_t netns_cookie, const std::string& ifname);
  void undo(const store::EndpointRecord& record);
  Result<void> release(const store::EndpointKey& key);
  Result<void> finish_removal(const store::EndpointKey& key);
  void done(const char* step) const {
    if (checkpoint_) checkpoint_(step);
  }
  Result<nlohmann::json> repeat(const store::EndpointRecord& record, const AttachRequest& request);
  std::uint32_t free_endpoint_id() const;
  nlohmann::json result_of(const store::EndpointRecord& record, std::uint32_t mtu) const;
  bool device_alive(const store::EndpointRecord& record);

  store::Store& store_;
  sys::Netlink& netlink_;
  PodKernel& pods_;
  control::Ipam& ipam_;
  Publish publish_;
  Admit admit_;
  Choose choose_;
  Checkpoint checkpoint_;
  std::unique_ptr<Reaper> reaper_;
  std::map<store::EndpointKey, store::EndpointRecord> records_;
  std::map<store::EndpointKey, std::string> program_faults_;
  store::EndpointKey last_healed_;
  std::uint64_t node_netns_ = 0;
  std::uint32_t pod_mtu_ = 1500;
};

}  // namespace weft::agent
