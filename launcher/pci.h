/* PCI addresses and what /sys shows of the devices there. */
#ifndef FLEETBOX_PCI_H
#define FLEETBOX_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"

#define PCI_DEVICES "/sys/bus/pci/devices"

/* DDDD:BB:DD.F as Linux writes it (four to eight digits of domain), or without the domain. */
struct pci {
    bool has_domain;
    uint64_t domain;
    uint32_t place; /* bus, device and function */
};

bool pci_parse(const char *text, struct pci *address);

/* True for the same device; one without a domain is meant in whichever it is. */
bool pci_same(const struct pci *wanted, const struct pci *address);

/* The order of addresses, in which every vendor counts its devices. Both must be whole ones. */
int pci_order(const char *left, const char *right);

/* Addresses of the displays and accelerators that VENDOR ("0x10de") made, in order. */
struct strings pci_gpus(const char *vendor);

/* Whether the kernel's driver of this name has the device. */
bool pci_has_driver(const char *address, const char *driver);

/* The first line of a file of the device; "" where it has none. */
const char *pci_text(const char *address, const char *file);

/* Its render nodes, /dev/dri/renderD128; never its card, which is the display's master. */
struct strings pci_render_nodes(const char *address);

#endif
