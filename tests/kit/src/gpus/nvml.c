/* NVIDIA's management library, as far as the engine asks it, over the devices that devices.h names. */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

struct device {
    const char *name;
    const char *uuid;
    unsigned long long memory;
    int lost;
};

#include "devices.h"

struct memory {
    unsigned int version;
    unsigned long long total, reserved, free, used;
};

struct utilisation {
    unsigned int gpu, memory;
};

int nvmlInit_v2(void) { return STARTS; }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    snprintf(version, length, "%s", DRIVER);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = COUNT;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, const struct device **device) {
    if (index >= COUNT)
        return INVALID_ARGUMENT;
    *device = &devices[index];
    return devices[index].lost ? GPU_IS_LOST : SUCCESS;
}

int nvmlDeviceGetName(const struct device *device, char *name, unsigned int length) {
    snprintf(name, length, "%s", device->name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(const struct device *device, char *uuid, unsigned int length) {
    snprintf(uuid, length, "%s", device->uuid);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(const struct device *device, struct memory *memory) {
    if (memory->version != (sizeof *memory | 2 << 24))
        return INVALID_ARGUMENT;
    memory->total = device->memory;
    memory->reserved = 0;
    memory->used = device->memory / 4;
    memory->free = device->memory - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(const struct device *device, int *major, int *minor) {
    (void)device;
    *major = 8;
    *minor = 9;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(const struct device *device, struct utilisation *rates) {
    if (device == &devices[1])
        return NOT_SUPPORTED;
    rates->gpu = 17;
    rates->memory = 5;
    return SUCCESS;
}
