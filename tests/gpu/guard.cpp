// A build of torch for CPUs has no device guard for CUDA, which views, casts and autograd ask for.
// This one knows a single device with a single stream, and does nothing.
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {

constexpr auto kind = c10::DeviceType::CUDA;

struct OneDevice final : c10::impl::NoOpDeviceGuardImpl<kind> {
  c10::Device getDevice() const override {
    return c10::Device(kind, 0);
  }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, c10::Device(kind, 0));
  }
};

c10::impl::DeviceGuardImplRegistrar registered(kind, new OneDevice());

} // namespace
