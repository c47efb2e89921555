// SPDX-License-Identifier: Apache-2.0
#include "blocklayer/drivers/formats/qcow2/metadata_map.hpp"

namespace blocklayer::qcow2 {

const char* to_text(MetadataKind kind) {
    switch (kind) {
    case MetadataKind::header: return "qcow2_header";
    case MetadataKind::active_l1: return "active L1 table";
    case MetadataKind::active_l2: return "active L2 table";
    case MetadataKind::refcount_table: return "refcount table";
    case MetadataKind::refcount_block: return "refcount block";
    case MetadataKind::snapshot_table: return "snapshot table";
    case MetadataKind::inactive_l1: return "inactive L1 table";
    case MetadataKind::inactive_l2: return "inactive L2 table";
    case MetadataKind::bitmap_directory: return "bitmap directory";
    }
    return "";
}

}  // namespace blocklayer::qcow2
