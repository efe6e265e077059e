// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MIB (1UL << 20)

/* Virtual devices that are linked into fp-rte. */
static const char *const virtual_devices[] = {
	"net_af_packet", "net_af_xdp", "net_memif", "net_null", "net_pcap", "net_ring",
};

/* PCI network devices that DPDK's linked drivers know. The exact device list is DPDK's; a wrong guess here ends with
 * DPDK's refusal at start-up. */
static const struct {
	uint16_t vendor;
	uint16_t first, last; /* device numbers */
} pci_known[] = {
	{0x1af4, 0x1000, 0x1000}, /* virtio-net, transitional */
	{0x1af4, 0x1041, 0x1041}, /* virtio-net */
	{0x8086, 0x0000,
	 0xffff}, /* e1000, e1000e, igb, igc, ixgbe, i40e, ice and their virtual functions */
	{0x15ad, 0x07b0, 0x07b0}, /* vmxnet3 */
	{0x1d0f, 0xec20, 0xec21}, /* ena */
	{0x1d0f, 0x0ec2, 0x1ec2},
};

bool plan_is_dpdk_driver(const char *driver)
{
	return !strcmp(driver, "vfio-pci") || !strcmp(driver, "uio_pci_generic") ||
	       !strcmp(driver, "igb_uio");
}

[[gnu::format(printf, 2, 3)]] static struct err *problem(struct plan *plan, const char *fmt, ...)
{
	static struct err lost;
	struct err *err =
		plan->n_problems < PLAN_PROBLEMS_MAX ? &plan->problems[plan->n_problems++] : &lost;
	va_list args;

	err->code = EINVAL;
	err->hint[0] = '\0';
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return err;
}

static bool is_network(const struct system_pci *pci)
{
	return pci->class >> 16 == 0x02;
}

static bool is_supported(const struct system_pci *pci)
{
	if (pci->class >> 8 != 0x0200)
		return false;
	for (size_t i = 0; i < sizeof(pci_known) / sizeof(pci_known[0]); i++)
		if (pci->vendor == pci_known[i].vendor && pci->device >= pci_known[i].first &&
		    pci->device <= pci_known[i].last)
			return true;
	return false;
}

static bool used_by_linux(const struct system *system, const struct system_pci *pci)
{
	const struct system_iface *iface = system_find_iface(system, pci->iface);

	return pci->vfs || (iface && ((iface->is_up && iface->has_address) || iface->is_slave));
}

/* What systemd would call the interface: enp1s2, enp1s2f3, enP5p1s2. */
static void predictable_name(const char *address, char ret[IFACE_NAME_LEN])
{
	unsigned domain = 0, bus = 0, slot = 0, function = 0;
	char text[48];
	int n;

	sscanf(address, "%x:%x:%x.%x", &domain, &bus, &slot, &function);
	n = domain ? snprintf(text, sizeof(text), "enP%up%us%u", domain, bus, slot)
		   : snprintf(text, sizeof(text), "enp%us%u", bus, slot);
	if (function)
		snprintf(text + n, sizeof(text) - (size_t)n, "f%u", function);
	snprintf(ret, IFACE_NAME_LEN, "%.15s", text);
}

static void add_pci(struct plan *plan, const struct system *system, const struct system_pci *pci,
		    const char *name)
{
	struct plan_port *port = &plan->ports[plan->n_ports];
	const char *remembered = system_find_name(system, pci->address);

	memset(port, 0, sizeof(*port));
	port->is_pci = true;
	snprintf(port->device, sizeof(port->device), "%s", pci->address);
	snprintf(port->bound, sizeof(port->bound), "%s", pci->driver);
	/* A device that is bound already stays with its driver: binding again would gain nothing. */
	snprintf(port->driver, sizeof(port->driver), "%s",
		 plan_is_dpdk_driver(pci->driver) ? pci->driver
		 : pci->has_iommu		  ? "vfio-pci"
						  : "uio_pci_generic");
	if (name) {
		snprintf(port->name, sizeof(port->name), "%s", name);
		port->name_from = "FP_PORTS";
	} else if (pci->iface[0]) {
		snprintf(port->name, sizeof(port->name), "%s", pci->iface);
		port->name_from = "its interface in Linux";
	} else if (remembered) {
		snprintf(port->name, sizeof(port->name), "%s", remembered);
		port->name_from = "its former interface in Linux";
	} else {
		predictable_name(pci->address, port->name);
		port->name_from = "its PCI address";
	}
	plan->n_ports++;
	plan->n_pci++;
}

static void auto_ports(struct plan *plan, const struct system *system)
{
	bool first = true;

	for (unsigned i = 0; i < system->n_pci; i++) {
		const struct system_pci *pci = &system->pci[i];

		if (!is_network(pci))
			continue;
		if (!first && is_supported(pci) && !used_by_linux(system, pci) &&
		    plan->n_ports < FPC_PORT_MAX)
			add_pci(plan, system, pci, NULL);
		first = false;
	}
}

static bool known_virtual(const char *device)
{
	for (size_t i = 0; i < sizeof(virtual_devices) / sizeof(virtual_devices[0]); i++) {
		size_t len = strlen(virtual_devices[i]);

		if (strncmp(device, virtual_devices[i], len))
			continue;
		while (isalnum((unsigned char)device[len]) || device[len] == '_')
			len++;
		if (!device[len] || device[len] == ',')
			return true;
	}
	return false;
}

/* The value of @key among the arguments of a virtual device. */
static bool device_argument(const char *device, const char *key, char *ret, size_t size)
{
	const char *arg = device;
	size_t len = strlen(key);

	while ((arg = strchr(arg, ','))) {
		arg++;
		if (!strncmp(arg, key, len) && arg[len] == '=') {
			snprintf(ret, size, "%.*s", (int)strcspn(arg + len + 1, ","),
				 arg + len + 1);
			return true;
		}
	}
	return false;
}

static void add_virtual(struct plan *plan, const struct system *system, const char *name,
			const char *device)
{
	struct plan_port *port = &plan->ports[plan->n_ports];
	char iface[64];

	if (!known_virtual(device)) {
		struct err *err =
			problem(plan,
				"FP_PORTS: '%.60s' is neither a PCI address nor a virtual "
				"device",
				device);

		err_hint(err,
			 "give 0000:00:04.0 or a device such as net_af_packet0,iface=veth1; known: "
			 "net_af_packet, net_af_xdp, net_memif, net_null, net_pcap, net_ring");
		return;
	}
	if (!name) {
		err_hint(problem(plan, "FP_PORTS: virtual device '%.60s' has no name", device),
			 "write NAME=%.60s", device);
		return;
	}
	for (unsigned i = 0; i < plan->n_ports; i++) {
		size_t len = strcspn(device, ",");

		if (!plan->ports[i].is_pci && !strncmp(plan->ports[i].device, device, len) &&
		    strcspn(plan->ports[i].device, ",") == len) {
			err_hint(problem(plan, "FP_PORTS: device '%.*s' stands twice",
					 (int)(len > 60 ? 60 : len), device),
				 "number them: net_null0, net_null1");
			return;
		}
	}
	if ((!strncmp(device, "net_af_packet", 13) || !strncmp(device, "net_af_xdp", 10)) &&
	    (!device_argument(device, "iface", iface, sizeof(iface)) ||
	     !system_find_iface(system, iface))) {
		if (device_argument(device, "iface", iface, sizeof(iface)))
			err_hint(problem(plan, "port %s: there is no interface %s in Linux", name,
					 iface),
				 "make it before the fast path starts");
		else
			err_hint(problem(plan, "port %s: device '%.60s' names no interface", name,
					 device),
				 "add ,iface=NAME");
		return;
	}
	memset(port, 0, sizeof(*port));
	snprintf(port->name, sizeof(port->name), "%s", name);
	snprintf(port->device, sizeof(port->device), "%s", device);
	port->name_from = "FP_PORTS";
	plan->n_ports++;
}

/* Whether Linux takes @name for an interface, and nobody is misled by it. */
static bool name_ok(struct plan *plan, const char *name)
{
	if (strlen(name) >= IFACE_NAME_LEN) {
		err_hint(problem(plan, "FP_PORTS: port name '%.60s' is longer than 15 characters",
				 name),
			 "shorten it");
		return false;
	}
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			goto bad;
	if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "lo") ||
	    !strcmp(name, "all") || !strcmp(name, "default") || !strcmp(name, "fpn0"))
		goto bad;
	return true;

bad:
	err_hint(problem(plan, "FP_PORTS: '%.60s' is no port name", name),
		 "use up to 15 letters, digits, '.', '_' or '-', and none of lo, all, default, "
		 "fpn0");
	return false;
}

static void add_port(struct plan *plan, const struct system *system, char *word)
{
	char address[PCI_ADDRESS_LEN];
	char *name = NULL, *device = word;
	char *eq = strchr(word, '=');

	/* The first '=' ends a name unless a device's arguments began before it. */
	if (eq && eq < word + strcspn(word, ",")) {
		*eq = '\0';
		name = word;
		device = eq + 1;
		if (!name_ok(plan, name))
			return;
	}
	if (plan->n_ports == FPC_PORT_MAX) {
		problem(plan, "FP_PORTS: more than %d ports", FPC_PORT_MAX);
		return;
	}
	if (!system_parse_pci(device, address)) {
		const struct system_pci *pci = system_find_pci(system, address);

		if (!pci) {
			err_hint(problem(plan, "FP_PORTS: there is no PCI device %s", address),
				 "`lspci -D` lists them");
			return;
		}
		if (!is_network(pci)) {
			err_hint(problem(plan, "FP_PORTS: PCI device %s is no network device",
					 address),
				 "`lspci -D` tells which are Ethernet controllers");
			return;
		}
		if (!is_supported(pci)) {
			problem(plan, "FP_PORTS: no driver for PCI device %s (%04x:%04x)", address,
				pci->vendor, pci->device);
			return;
		}
		for (unsigned i = 0; i < plan->n_ports; i++)
			if (!strcmp(plan->ports[i].device, address)) {
				problem(plan, "FP_PORTS: PCI device %s stands twice", address);
				return;
			}
		add_pci(plan, system, pci, name);
	} else {
		add_virtual(plan, system, name, device);
	}
}

static void check_names(struct plan *plan, const struct system *system)
{
	for (unsigned i = 0; i < plan->n_ports; i++) {
		const struct plan_port *port = &plan->ports[i];
		const struct system_iface *iface = system_find_iface(system, port->name);
		const struct system_pci *pci =
			port->is_pci ? system_find_pci(system, port->device) : NULL;

		for (unsigned j = 0; j < i; j++)
			if (!strcmp(plan->ports[j].name, port->name)) {
				err_hint(problem(plan, "FP_PORTS: two ports are named '%s'",
						 port->name),
					 "give each its own name: NAME=%s", port->device);
				break;
			}
		/* Before it's bound, a device's own interface may have the name. */
		if (iface && !iface->is_tap && !(pci && !strcmp(pci->iface, port->name)))
			err_hint(problem(plan, "port %s: Linux has another interface of that name",
					 port->name),
				 "name the port differently in FP_PORTS: NAME=DEVICE");
	}
}

/* PCI devices in front, in order of address: so DPDK numbers them. */
static void sort_ports(struct plan *plan)
{
	for (unsigned i = 1; i < plan->n_ports; i++) {
		struct plan_port port = plan->ports[i];
		unsigned j = i;

		for (; port.is_pci && j &&
		       (!plan->ports[j - 1].is_pci ||
			strcmp(plan->ports[j - 1].device, port.device) > 0);
		     j--)
			plan->ports[j] = plan->ports[j - 1];
		plan->ports[j] = port;
	}
}

static void plan_ports(struct plan *plan, const struct settings *settings,
		       const struct system *system)
{
	char text[SETTING_TEXT_MAX], *save = NULL;

	if (!settings->ports[0]) {
		auto_ports(plan, system);
	} else {
		snprintf(text, sizeof(text), "%s", settings->ports);
		for (char *word = strtok_r(text, " \t", &save); word;
		     word = strtok_r(NULL, " \t", &save))
			add_port(plan, system, word);
	}
	check_names(plan, system);
	sort_ports(plan);
}

static bool has_cpu(const struct system *system, unsigned cpu)
{
	for (unsigned i = 0; i < system->n_cpus; i++)
		if (system->cpus[i] == cpu)
			return true;
	return false;
}

static void check_cpu(struct plan *plan, const struct system *system, const char *setting,
		      unsigned cpu)
{
	if (!has_cpu(system, cpu))
		err_hint(problem(plan, "%s: CPU %u isn't there or not allowed", setting, cpu),
			 "CPUs are from %u to %u", system->cpus[0],
			 system->cpus[system->n_cpus - 1]);
}

static void plan_cores(struct plan *plan, const struct settings *settings,
		       const struct system *system)
{
	uint16_t cpus[SYSTEM_CPUS_MAX];
	unsigned n = 0;

	plan->control_core = setting_or(settings->control_core, system->cpus[0]);
	check_cpu(plan, system, "FP_CONTROL_CORE", plan->control_core);
	plan->exception_core = setting_or(settings->exception_core, plan->control_core);
	if (plan->exception_core != plan->control_core)
		check_cpu(plan, system, "FP_EXCEPTION_CORE", plan->exception_core);

	if (!settings->cores[0]) {
		for (unsigned i = system->n_cpus > 1; i < system->n_cpus; i++)
			cpus[n++] = system->cpus[i];
		if (n > PLAN_WORKERS_MAX)
			n = PLAN_WORKERS_MAX;
	} else if (cores_parse(settings->cores, cpus, &n)) {
		err_hint(problem(plan, "FP_CORES: '%.60s' is no list of CPUs", settings->cores),
			 "write it like 1,3-5");
		n = 0;
	} else if (n > PLAN_WORKERS_MAX) {
		problem(plan, "FP_CORES: more than %d CPUs", PLAN_WORKERS_MAX);
		n = PLAN_WORKERS_MAX;
	}
	for (unsigned i = 0; i < n; i++) {
		plan->cores[plan->n_cores++] = cpus[i];
		check_cpu(plan, system, "FP_CORES", cpus[i]);
	}
}

static uint64_t align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

static void plan_memory(struct plan *plan, const struct settings *settings,
			const struct system *system, enum plan_for for_what)
{
	uint64_t queues = (uint64_t)plan->n_ports * plan->n_cores;
	uint64_t per_queue, object, need;
	bool want;

	plan->mtu = setting_or(settings->mtu, 1500);
	plan->rx_descriptors = (uint16_t)setting_or(settings->rx_descriptors, 1024);
	plan->tx_descriptors = (uint16_t)setting_or(settings->tx_descriptors, 1024);
	/* Ethernet header, two VLAN tags and CRC; NICs count receive buffers in KiB. */
	plan->mbuf_room = (uint32_t)align_up(plan->mtu + 14 + 8 + 4, 1024);
	if (plan->mbuf_room < 2048)
		plan->mbuf_room = 2048;

	per_queue = (uint64_t)plan->rx_descriptors + plan->tx_descriptors + 512;
	if (per_queue < 4096)
		per_queue = 4096;
	plan->mbufs = setting_or(settings->mbufs, (uint32_t)(16384 + queues * per_queue));
	if (plan->mbufs < queues * plan->rx_descriptors + 512)
		err_hint(problem(plan,
				 "FP_MBUFS=%u is too few: the receive rings of %u ports and %u "
				 "workers hold %lu",
				 plan->mbufs, plan->n_ports, plan->n_cores,
				 queues * plan->rx_descriptors),
			 "give more, or auto");

	/* mbuf 128, headroom 128, mempool's header and trailer. */
	object = align_up(128 + 128 + plan->mbuf_room + 128, 64);
	need = plan->mbufs * object / MIB + 48 + plan->n_ports * 4UL;
	/* Crypto sessions: three an SA at the most (features/ipsec), 2 KiB each. */
	need += setting_or(settings->max_sas, 1024) * 3UL * 2048 / MIB;
	plan->memory = setting_or(settings->memory, (uint32_t)need);
	if (plan->memory < plan->mbufs * object / MIB + 16)
		err_hint(problem(plan, "FP_MEMORY=%u is too little for %u packet buffers",
				 plan->memory, plan->mbufs),
			 "give %lu or auto, or fewer FP_MBUFS", need);

	if (settings->hugepages != SETTING_AUTO)
		want = settings->hugepages == HUGEPAGES_YES;
	else
		want = plan->n_pci || for_what == PLAN_LOOK
			       ? system->huge_total || plan->n_pci
			       : system->huge_free >= plan->memory * MIB;
	plan->hugepages = want;
	if (!want && plan->n_pci)
		err_hint(problem(plan, "FP_HUGEPAGES=no, but port %s is a PCI device",
				 plan->ports[0].name),
			 "PCI devices need huge pages: set FP_HUGEPAGES=auto");
	if (!want)
		return;
	if (!system->huge_page) {
		err_hint(problem(plan, "this kernel has no huge pages"),
			 "with virtual devices only, FP_HUGEPAGES=no does without");
		return;
	}
	need = align_up(plan->memory * MIB, system->huge_page);
	if (system->huge_free < need)
		plan->huge_missing = need - system->huge_free;
	if (plan->huge_missing && for_what == PLAN_START)
		err_hint(problem(plan, "too few huge pages: %lu MiB are free, %u MiB needed",
				 system->huge_free / MIB, plan->memory),
			 "`fp-rte --bind` as root reserves them, less FP_MBUFS or FP_MEMORY needs "
			 "fewer%s",
			 plan->n_pci ? "" : ", FP_HUGEPAGES=no does without");
}

void plan_make(struct plan *ret, const struct settings *settings, const struct system *system,
	       enum plan_for for_what)
{
	memset(ret, 0, sizeof(*ret));
	plan_ports(ret, settings, system);
	plan_cores(ret, settings, system);
	plan_memory(ret, settings, system, for_what);
	ret->exception_rate = setting_or(settings->exception_rate, 20000);
	ret->exception_total = setting_or(settings->exception_total, 100000);
	ret->exception_control =
		setting_or(settings->exception_control,
			   ret->exception_rate > 5000 ? ret->exception_rate : 5000);
	ret->idle_sleep = setting_or(settings->idle_sleep, 5000);
	if (ret->n_cores > 1 && settings->spread != SPREAD_NO)
		ret->spread =
			settings->spread == SPREAD_YES ? PLAN_SPREAD_ALWAYS : PLAN_SPREAD_AUTO;
	else
		ret->spread = PLAN_SPREAD_NO;

	if (!system->has_tun)
		err_hint(problem(ret, "/dev/net/tun is missing: ports can't appear in Linux"),
			 "`modprobe tun`; in a container, hand the device in");
	ret->vhost =
		settings->tap == SETTING_AUTO ? system->has_vhost_net : settings->tap == TAP_VHOST;
	if (ret->vhost && !system->has_vhost_net)
		err_hint(problem(ret, "FP_TAP=vhost, but /dev/vhost-net is missing"),
			 "`modprobe vhost_net`, or set FP_TAP=auto");

	for (unsigned i = 0; i < ret->n_ports && for_what == PLAN_START; i++) {
		const struct plan_port *port = &ret->ports[i];

		if (port->is_pci && !plan_is_dpdk_driver(port->bound))
			err_hint(problem(ret, "port %s: PCI device %s is %s%s, not %s", port->name,
					 port->device,
					 port->bound[0] ? "bound to " : "bound to no driver",
					 port->bound, port->driver),
				 "run `fp-rte --bind` as root (sluice-ports.service does at boot)");
	}
}

static void line(const char *key, bool set, const char *fmt, ...)
{
	char value[PLAN_DEVICE_LEN + 64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	printf("%-20s %-28s %s\n", key, value, set ? "as set" : "auto");
}

void plan_print(const struct plan *plan, const struct settings *settings)
{
	char cores[WORKERS_MAX * 5];

	cores_print(plan->cores, plan->n_cores, cores, sizeof(cores));

	line("FP_PORTS", settings->ports[0], "%u", plan->n_ports);
	for (unsigned i = 0; i < plan->n_ports; i++) {
		const struct plan_port *port = &plan->ports[i];

		printf("  %-15s %s", port->name, port->device);
		if (port->is_pci && strcmp(port->driver, port->bound))
			printf(", to be bound to %s (now %s)", port->driver,
			       port->bound[0] ? port->bound : "to none");
		else if (port->is_pci)
			printf(", bound to %s", port->driver);
		printf("; name from %s\n", port->name_from);
	}
	line("FP_CORES", settings->cores[0], "%s", cores);
	line("FP_CONTROL_CORE", settings->control_core != SETTING_AUTO, "%u", plan->control_core);
	line("FP_EXCEPTION_CORE", settings->exception_core != SETTING_AUTO, "%u",
	     plan->exception_core);
	line("FP_MEMORY", settings->memory != SETTING_AUTO, "%u MiB", plan->memory);
	line("FP_HUGEPAGES", settings->hugepages != SETTING_AUTO, "%s",
	     plan->hugepages ? "yes" : "no");
	if (plan->huge_missing)
		printf("  %lu MiB more than are free now\n", plan->huge_missing / MIB);
	line("FP_MBUFS", settings->mbufs != SETTING_AUTO, "%u", plan->mbufs);
	line("FP_MTU", settings->mtu != SETTING_AUTO, "%u", plan->mtu);
	line("FP_RX_DESCRIPTORS", settings->rx_descriptors != SETTING_AUTO, "%u",
	     plan->rx_descriptors);
	line("FP_TX_DESCRIPTORS", settings->tx_descriptors != SETTING_AUTO, "%u",
	     plan->tx_descriptors);
	line("FP_TAP", settings->tap != SETTING_AUTO, "%s", plan->vhost ? "vhost" : "queue");
	line("FP_EXCEPTION_RATE", settings->exception_rate != SETTING_AUTO, "%u packets/s a port",
	     plan->exception_rate);
	line("FP_EXCEPTION_TOTAL", settings->exception_total != SETTING_AUTO, "%u packets/s",
	     plan->exception_total);
	line("FP_EXCEPTION_CONTROL", settings->exception_control != SETTING_AUTO,
	     "%u packets/s a port", plan->exception_control);
	line("FP_IDLE_SLEEP", settings->idle_sleep != SETTING_AUTO, "%u us", plan->idle_sleep);
	line("FP_SPREAD", settings->spread != SETTING_AUTO, "%s",
	     plan->n_cores < 2			  ? "no: one worker"
	     : plan->spread == PLAN_SPREAD_NO	  ? "no"
	     : plan->spread == PLAN_SPREAD_ALWAYS ? "yes"
						  : "while a worker can't keep up");
	line("FP_MAX_INTERFACES", settings->max_ifaces != SETTING_AUTO, "%u",
	     setting_or(settings->max_ifaces, 1024));
	line("FP_MAX_NEIGHBOURS", settings->max_neighs != SETTING_AUTO, "%u",
	     setting_or(settings->max_neighs, 16384));
	line("FP_MAX_NEXTHOPS", settings->max_nexthops != SETTING_AUTO, "%u",
	     setting_or(settings->max_nexthops, 16384));
	line("FP_MAX_IPV4_LINES", settings->max_lines4 != SETTING_AUTO, "%u",
	     setting_or(settings->max_lines4, 1 << 20));
	line("FP_MAX_IPV6_LINES", settings->max_lines6 != SETTING_AUTO, "%u",
	     setting_or(settings->max_lines6, 1 << 20));
	line("FP_MAX_SAS", settings->max_sas != SETTING_AUTO, "%u",
	     setting_or(settings->max_sas, 1024));
	line("FP_MAX_IPSEC_POLICIES", settings->max_policies != SETTING_AUTO, "%u",
	     setting_or(settings->max_policies, 2048));
}
