// SPDX-License-Identifier: Apache-2.0
// The types of what queries tell of nodes, as query-qmp-schema shows them.
//
// source  QAPI block-core.json, crypto.json
#include "blocklayer/options/schema.hpp"

namespace blocklayer {
namespace {

TypeSpec enumeration(std::string name, std::vector<std::string> values) {
    return {
        .name = std::move(name), .meta = TypeSpec::Meta::enumeration, .values = std::move(values)};
}

const TypeRegistration cache({.name = "BlockdevCacheInfo",
                              .members = {required("writeback", "bool"), required("direct", "bool"),
                                          required("no-flush", "bool")}});
const TypeRegistration bitmap({.name = "BlockDirtyInfo",
                               .members = {optional("name", "str"), required("count", "int"),
                                           required("granularity", "uint32"),
                                           required("recording", "bool"), required("busy", "bool"),
                                           required("persistent", "bool"),
                                           optional("inconsistent", "bool")}});
const TypeRegistration snapshot(
    {.name = "SnapshotInfo",
     .members = {required("id", "str"), required("name", "str"), required("vm-state-size", "int"),
                 required("date-sec", "int"), required("date-nsec", "int"),
                 required("vm-clock-sec", "int"), required("vm-clock-nsec", "int"),
                 optional("icount", "int")}});

// ---- what formats tell ----------------------------------------------------------------------

const TypeRegistration kind(enumeration("ImageInfoSpecificKind", {"qcow2", "vmdk", "luks", "rbd"}));
const TypeRegistration cipher(
    enumeration("QCryptoCipherAlgorithm",
                {"aes-128", "aes-192", "aes-256", "des", "3des", "cast5-128", "serpent-128",
                 "serpent-192", "serpent-256", "twofish-128", "twofish-192", "twofish-256"}));
const TypeRegistration cipher_mode(enumeration("QCryptoCipherMode", {"ecb", "cbc", "xts", "ctr"}));
const TypeRegistration ivgen(enumeration("QCryptoIVGenAlgorithm", {"plain", "plain64", "essiv"}));
const TypeRegistration hash(enumeration("QCryptoHashAlgorithm",
                                        {"md5", "sha1", "sha224", "sha256", "sha384", "sha512",
                                         "ripemd160"}));
const TypeRegistration slot({.name = "QCryptoBlockInfoLUKSSlot",
                             .members = {required("active", "bool"), optional("iters", "int"),
                                         optional("stripes", "int"),
                                         required("key-offset", "int")}});

std::vector<MemberSpec> luks_members() {
    return {required("cipher-alg", "QCryptoCipherAlgorithm"),
            required("cipher-mode", "QCryptoCipherMode"),
            required("ivgen-alg", "QCryptoIVGenAlgorithm"),
            optional("ivgen-hash-alg", "QCryptoHashAlgorithm"),
            required("hash-alg", "QCryptoHashAlgorithm"),
            required("payload-offset", "int"),
            required("master-key-iters", "int"),
            required("uuid", "str"),
            required("slots", "[QCryptoBlockInfoLUKSSlot]")};
}

const TypeRegistration luks({.name = "QCryptoBlockInfoLUKS", .members = luks_members()});
const TypeRegistration encryption_format(enumeration("BlockdevQcow2EncryptionFormat",
                                                     {"aes", "luks"}));
const TypeRegistration encryption({.name = "ImageInfoSpecificQCow2Encryption",
                                   .members = {required("format", "BlockdevQcow2EncryptionFormat")},
                                   .tag = "format",
                                   .variants = {{"aes", {}}, {"luks", luks_members()}}});
const TypeRegistration bitmap_flags(enumeration("Qcow2BitmapInfoFlags", {"in-use", "auto"}));
const TypeRegistration qcow2_bitmap({.name = "Qcow2BitmapInfo",
                                     .members = {required("name", "str"),
                                                 required("granularity", "uint32"),
                                                 required("flags", "[Qcow2BitmapInfoFlags]")}});
const TypeRegistration qcow2(
    {.name = "ImageInfoSpecificQCow2",
     .members = {required("compat", "str"), optional("data-file", "str"),
                 optional("data-file-raw", "bool"), optional("extended-l2", "bool"),
                 optional("lazy-refcounts", "bool"), optional("corrupt", "bool"),
                 required("refcount-bits", "int"),
                 optional("encrypt", "ImageInfoSpecificQCow2Encryption"),
                 optional("bitmaps", "[Qcow2BitmapInfo]"),
                 required("compression-type", "Qcow2CompressionType")}});
const TypeRegistration vmdk(
    {.name = "ImageInfoSpecificVmdk",
     .members = {required("create-type", "str"), required("cid", "int"),
                 required("parent-cid", "int"), required("extents", "[ImageInfo]")}});
const TypeRegistration rbd_format(enumeration("RbdImageEncryptionFormat", {"luks", "luks2"}));
const TypeRegistration rbd(
    {.name = "ImageInfoSpecificRbd",
     .members = {optional("encryption-format", "RbdImageEncryptionFormat")}});
const TypeRegistration specific(
    {.name = "ImageInfoSpecific",
     .members = {required("type", "ImageInfoSpecificKind")},
     .tag = "type",
     .variants = {{"qcow2", {required("data", "ImageInfoSpecificQCow2")}},
                  {"vmdk", {required("data", "ImageInfoSpecificVmdk")}},
                  {"luks", {required("data", "QCryptoBlockInfoLUKS")}},
                  {"rbd", {required("data", "ImageInfoSpecificRbd")}}}});

// ---- images and nodes -----------------------------------------------------------------------

const TypeRegistration image(
    {.name = "ImageInfo",
     .members = {required("filename", "str"), required("format", "str"),
                 optional("dirty-flag", "bool"), optional("actual-size", "int"),
                 required("virtual-size", "int"), optional("cluster-size", "int"),
                 optional("encrypted", "bool"), optional("compressed", "bool"),
                 optional("backing-filename", "str"), optional("full-backing-filename", "str"),
                 optional("backing-filename-format", "str"),
                 optional("snapshots", "[SnapshotInfo]"), optional("backing-image", "ImageInfo"),
                 optional("format-specific", "ImageInfoSpecific")}});

std::vector<MemberSpec> device_members() {
    std::vector<MemberSpec> members = {
        required("file", "str"), optional("node-name", "str"), required("ro", "bool"),
        required("drv", "str"), optional("backing_file", "str"),
        required("backing_file_depth", "int"), required("encrypted", "bool"),
        required("detect_zeroes", "BlockdevDetectZeroesOptions"), required("image", "ImageInfo"),
        required("cache", "BlockdevCacheInfo"), required("write_threshold", "int"),
        optional("dirty-bitmaps", "[BlockDirtyInfo]"), optional("iops_size", "int"),
        optional("group", "str")};
    for (const char* limit : {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"}) {
        members.push_back(required(limit, "int"));
        members.push_back(optional(std::string(limit) + "_max", "int"));
        members.push_back(optional(std::string(limit) + "_max_length", "int"));
    }
    return members;
}
const TypeRegistration device({.name = "BlockDeviceInfo", .members = device_members()});

}  // namespace
}  // namespace blocklayer
