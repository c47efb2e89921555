// SPDX-License-Identifier: Apache-2.0
// Types that several drivers, devices and commands share.
// source  QAPI common.json, block-core.json.
#include "blocklayer/options/schema.hpp"

namespace blocklayer {
namespace {

TypeSpec enumeration(std::string name, std::vector<std::string> values) {
    return {
        .name = std::move(name), .meta = TypeSpec::Meta::enumeration, .values = std::move(values)};
}

const TypeRegistration on_off_auto(enumeration("OnOffAuto", {"auto", "on", "off"}));
const TypeRegistration prealloc_mode(enumeration("PreallocMode",
                                                 {"off", "metadata", "falloc", "full"}));
const TypeRegistration block_permission(
    enumeration("BlockPermission", {"consistent-read", "write", "write-unchanged", "resize"}));
const TypeRegistration discard(enumeration("BlockdevDiscardOptions", {"ignore", "unmap"}));
const TypeRegistration detect_zeroes(enumeration("BlockdevDetectZeroesOptions",
                                                 {"off", "on", "unmap"}));
const TypeRegistration aio(enumeration("BlockdevAioOptions", {"threads", "native", "io_uring"}));
const TypeRegistration on_error(enumeration("BlockdevOnError",
                                            {"report", "ignore", "enospc", "stop", "auto"}));
const TypeRegistration on_cbw_error(enumeration("OnCbwError",
                                                {"break-guest-write", "break-snapshot"}));
const TypeRegistration mirror_sync(enumeration("MirrorSyncMode",
                                               {"top", "full", "none", "incremental", "bitmap"}));
const TypeRegistration mirror_copy(enumeration("MirrorCopyMode", {"background", "write-blocking"}));
const TypeRegistration bitmap_sync(enumeration("BitmapSyncMode",
                                               {"on-success", "never", "always"}));
const TypeRegistration job_type(enumeration("JobType", {"commit", "stream", "mirror", "backup",
                                                        "create", "amend", "snapshot-load",
                                                        "snapshot-save", "snapshot-delete"}));
const TypeRegistration job_status(
    enumeration("JobStatus", {"undefined", "created", "running", "paused", "ready", "standby",
                              "waiting", "pending", "aborting", "concluded", "null"}));
const TypeRegistration io_operation(enumeration("IoOperationType", {"read", "write"}));
const TypeRegistration error_action(enumeration("BlockErrorAction", {"ignore", "report", "stop"}));
const TypeRegistration io_status(enumeration("BlockDeviceIoStatus", {"ok", "failed", "nospace"}));

const TypeRegistration cache({.name = "BlockdevCacheOptions",
                              .members = {optional("direct", "bool"),
                                          optional("no-flush", "bool")}});

const TypeRegistration bitmap({.name = "BlockDirtyBitmap",
                               .members = {required("node", "str"), required("name", "str")}});

const TypeRegistration ref({.name = "BlockdevRef",
                            .meta = TypeSpec::Meta::alternate,
                            .members = {required("definition", "BlockdevOptions"),
                                        required("reference", "str")}});
const TypeRegistration ref_or_null({.name = "BlockdevRefOrNull",
                                    .meta = TypeSpec::Meta::alternate,
                                    .members = {required("definition", "BlockdevOptions"),
                                                required("reference", "str"),
                                                required("null", "null")}});
const TypeRegistration str_or_null({.name = "StrOrNull",
                                    .meta = TypeSpec::Meta::alternate,
                                    .members = {required("s", "str"), required("n", "null")}});

}  // namespace
}  // namespace blocklayer
