// SPDX-License-Identifier: Apache-2.0
#include "hwmodels/campaign/guest_load.hpp"

#include <fmt/format.h>

#include "sim/check.hpp"

namespace hwmodels::campaign {

void start_load(Rig& rig, const std::string& id, unsigned process, LoadOptions options) {
    const auto disk = [&rig, &known = rig.known_disk(id)] {
        EXPECTS(known.disk != nullptr);
        return rig.power_is_off() ? nullptr : known.disk.get();
    };
    rig.spawn(
        "guest load",
        [id, load = guest::Load(rig.world, id, process, options, disk)](sim::Co& co) mutable {
            if (const sim::IoStatus status = load.run(co); !status)
                Rig::fail(fmt::format("a guest request on '{}' failed with {}", id,
                                      sim::errno_text(status.error())));
        },
        sim::Place::named("guest process", id + ' ' + std::to_string(process)));
}

}  // namespace hwmodels::campaign
