// The part of pyxrt that bci_lfads.engines.fpga uses, over the real libxrt_coreutil; tests only.
//
// Debian packages the Xilinx Runtime without its Python module. Names, overloads and types follow
// pyxrt 2.13's: scalars are signed 32 bits, calls keep the GIL, `sync` takes three arguments.
#include <cstdint>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <string>

#include "experimental/xrt_xclbin.h"
#include "xrt/xrt_bo.h"
#include "xrt/xrt_device.h"
#include "xrt/xrt_kernel.h"

namespace nb = nanobind;

namespace {

void bind_enums(nb::module_& m) {
    nb::enum_<xclBOSyncDirection>(m, "xclBOSyncDirection")
        .value("XCL_BO_SYNC_BO_TO_DEVICE", XCL_BO_SYNC_BO_TO_DEVICE)
        .value("XCL_BO_SYNC_BO_FROM_DEVICE", XCL_BO_SYNC_BO_FROM_DEVICE);
    nb::enum_<ert_cmd_state>(m, "ert_cmd_state")
        .value("ERT_CMD_STATE_NEW", ERT_CMD_STATE_NEW)
        .value("ERT_CMD_STATE_QUEUED", ERT_CMD_STATE_QUEUED)
        .value("ERT_CMD_STATE_RUNNING", ERT_CMD_STATE_RUNNING)
        .value("ERT_CMD_STATE_COMPLETED", ERT_CMD_STATE_COMPLETED)
        .value("ERT_CMD_STATE_ERROR", ERT_CMD_STATE_ERROR)
        .value("ERT_CMD_STATE_ABORT", ERT_CMD_STATE_ABORT)
        .value("ERT_CMD_STATE_SUBMITTED", ERT_CMD_STATE_SUBMITTED)
        .value("ERT_CMD_STATE_TIMEOUT", ERT_CMD_STATE_TIMEOUT)
        .value("ERT_CMD_STATE_NORESPONSE", ERT_CMD_STATE_NORESPONSE);
    nb::enum_<xrt::info::device>(m, "xrt_info_device")
        .value("bdf", xrt::info::device::bdf)
        .value("name", xrt::info::device::name);
}

void bind_xclbin(nb::module_& m) {
    nb::class_<xrt::uuid>(m, "uuid").def("to_string", &xrt::uuid::to_string);
    nb::class_<xrt::xclbin> xclbin(m, "xclbin");
    nb::class_<xrt::xclbin::kernel>(xclbin, "xclbinkernel")
        .def("get_name", &xrt::xclbin::kernel::get_name)
        .def("get_num_args", &xrt::xclbin::kernel::get_num_args);
    nb::class_<xrt::xclbin::mem>(xclbin, "xclbinmem")
        .def("get_tag", &xrt::xclbin::mem::get_tag)
        .def("get_index", &xrt::xclbin::mem::get_index)
        .def("get_used", &xrt::xclbin::mem::get_used);
    xclbin.def(nb::init<const std::string&>())
        .def("get_kernels", &xrt::xclbin::get_kernels)
        .def("get_mems", &xrt::xclbin::get_mems)
        .def("get_uuid", &xrt::xclbin::get_uuid)
        .def("get_xsa_name", &xrt::xclbin::get_xsa_name);
}

void bind_device(nb::module_& m) {
    nb::class_<xrt::device>(m, "device")
        .def(nb::init<unsigned int>())
        .def(nb::init<const std::string&>())
        .def("load_xclbin",
             [](xrt::device& d, const std::string& path) { return d.load_xclbin(path); })
        .def("load_xclbin",
             [](xrt::device& d, const xrt::xclbin& xclbin) { return d.load_xclbin(xclbin); })
        .def("get_info", [](xrt::device& d, xrt::info::device key) {
            return key == xrt::info::device::bdf ? d.get_info<xrt::info::device::bdf>()
                                                 : d.get_info<xrt::info::device::name>();
        });
}

void bind_kernel(nb::module_& m) {
    nb::class_<xrt::kernel>(m, "kernel")
        .def(nb::init<const xrt::device&, const xrt::uuid&, const std::string&>())
        .def("group_id", &xrt::kernel::group_id);
    nb::class_<xrt::run>(m, "run")
        .def(nb::init<const xrt::kernel&>())
        .def("start", [](xrt::run& r) { r.start(); })
        .def("set_arg", [](xrt::run& r, int i, xrt::bo& b) { r.set_arg(i, b); })
        .def("set_arg", [](xrt::run& r, int i, int v) { r.set_arg(i, v); })
        .def("wait", [](xrt::run& r) { return r.wait(0U); })
        .def("wait", [](xrt::run& r, unsigned int ms) { return r.wait(ms); })
        .def("state", &xrt::run::state);
}

void bind_bo(nb::module_& m) {
    nb::class_<xrt::bo> bo(m, "bo");
    nb::enum_<xrt::bo::flags>(bo, "flags")
        .value("normal", xrt::bo::flags::normal)
        .value("cacheable", xrt::bo::flags::cacheable)
        .value("device_only", xrt::bo::flags::device_only)
        .value("host_only", xrt::bo::flags::host_only)
        .export_values();
    bo.def("__init__",
           [](xrt::bo* self, const xrt::device& d, size_t size, xrt::bo::flags flags, int group) {
               new (self) xrt::bo(d, size, flags, static_cast<xrt::memory_group>(group));
           })
        .def(nb::init<const xrt::bo&, size_t, size_t>())
        .def("sync", [](xrt::bo& b, xclBOSyncDirection direction, size_t size,
                        size_t offset) { b.sync(direction, size, offset); })
        .def("map",
             [](xrt::bo& b) {
                 return nb::steal(PyMemoryView_FromMemory(
                     b.map<char*>(), static_cast<Py_ssize_t>(b.size()), PyBUF_WRITE));
             })
        .def("size", &xrt::bo::size)
        .def("address", &xrt::bo::address);
}

} // namespace

NB_MODULE(pyxrt, m) {
    nb::set_leak_warnings(false); // what belongs to a failed card is kept on purpose
    bind_enums(m);
    bind_xclbin(m);
    bind_device(m);
    bind_kernel(m);
    bind_bo(m);
}
