// SPDX-License-Identifier: BSD-3-Clause
/* What fp-rte would use on machines that exist as folders only. */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fastpath/plan.h"

static char root[64];
static struct settings settings;
static struct system machine;
static struct plan plan;

/* --- machines --- */

static void make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755))
			assert_int_equal(errno, EEXIST);
		*slash = '/';
	}
}

[[gnu::format(printf, 2, 3)]] static void file(const char *text, const char *fmt, ...)
{
	char path[512];
	int n = snprintf(path, sizeof(path), "%s", root);
	va_list args;
	FILE *f;

	va_start(args, fmt);
	vsnprintf(path + n, sizeof(path) - (size_t)n, fmt, args);
	va_end(args);
	make_folders(path);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

[[gnu::format(printf, 2, 3)]] static void link_to(const char *target, const char *fmt, ...)
{
	char path[512];
	int n = snprintf(path, sizeof(path), "%s", root);
	va_list args;

	va_start(args, fmt);
	vsnprintf(path + n, sizeof(path) - (size_t)n, fmt, args);
	va_end(args);
	make_folders(path);
	assert_int_equal(symlink(target, path), 0);
}

static void pci(const char *address, const char *class, const char *vendor, const char *device,
		const char *driver)
{
	file(class, "/sys/bus/pci/devices/%s/class", address);
	file(vendor, "/sys/bus/pci/devices/%s/vendor", address);
	file(device, "/sys/bus/pci/devices/%s/device", address);
	if (driver) {
		char target[128];

		snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
		link_to(target, "/sys/bus/pci/devices/%s/driver", address);
	}
}

/* A virtio NIC with interface @iface, NULL: none. */
static void virtio(const char *address, const char *iface)
{
	pci(address, "0x020000\n", "0x1af4\n", "0x1041\n", iface ? "virtio-pci" : NULL);
	if (iface) {
		file("1\n", "/sys/bus/pci/devices/%s/virtio%c/net/%s/ifindex", address,
		     address[strlen(address) - 3], iface);
		file("0x1002\n", "/sys/class/net/%s/flags", iface);
	}
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	snprintf(root, sizeof(root), "/tmp/test_plan.XXXXXX");
	assert_non_null(mkdtemp(root));
	file("0-3\n", "/sys/devices/system/cpu/online");
	file("0\n", "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	file("0\n", "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
	file("", "/dev/net/tun");
	file("0x9\n", "/sys/class/net/lo/flags");
	settings_init(&settings);
	return 0;
}

static int teardown(void **state)
{
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void huge_pages(const char *all, const char *left)
{
	file(all, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	file(left, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
}

static void read_machine(void)
{
	struct err err = {};

	assert_int_equal(system_read(&machine, root, "/run/ports", &err), 0);
}

static void make(enum plan_for for_what)
{
	read_machine();
	plan_make(&plan, &settings, &machine, for_what);
}

static void ports(const char *text)
{
	snprintf(settings.ports, sizeof(settings.ports), "%s", text);
}

static void assert_problem(const char *text)
{
	assert_int_equal(plan.n_problems, 1);
	assert_string_equal(plan.problems[0].text, text);
}

static void assert_fine(void)
{
	if (plan.n_problems)
		fail_msg("%s", plan.problems[0].text);
}

/* --- ports --- */

static void auto_takes_all_but_the_first_network_device(void **state)
{
	pci("0000:00:02.0", "0x030000\n", "0x1af4\n", "0x1050\n", NULL);
	virtio("0000:00:05.0", "eth2");
	virtio("0000:00:03.0", "eth0");
	virtio("0000:00:04.0", "eth1");
	make(PLAN_BIND);
	assert_fine();
	assert_int_equal(plan.n_ports, 2);
	assert_int_equal(plan.n_pci, 2);
	assert_string_equal(plan.ports[0].name, "eth1");
	assert_string_equal(plan.ports[0].device, "0000:00:04.0");
	assert_string_equal(plan.ports[0].bound, "virtio-pci");
	assert_string_equal(plan.ports[1].name, "eth2");
	assert_true(plan.hugepages);
}

static void auto_leaves_linux_what_linux_uses(void **state)
{
	virtio("0000:00:03.0", "eth0");
	virtio("0000:00:04.0", "eth1"); /* up, with an address */
	virtio("0000:00:05.0", "eth2"); /* in a bond */
	virtio("0000:00:06.0", "eth3"); /* an SR-IOV physical function in use */
	virtio("0000:00:07.0", "eth4"); /* up without an address: free */
	virtio("0000:00:08.0", "eth5"); /* an address, but down: free */
	pci("0000:00:09.0", "0x020000\n", "0xabcd\n", "0x0001\n", NULL); /* no driver */
	pci("0000:00:0a.0", "0x028000\n", "0x8086\n", "0x2723\n", NULL); /* wireless */
	file("0x1003\n", "/sys/class/net/eth1/flags");
	link_to("../bond0", "/sys/class/net/eth2/master");
	file("2\n", "/sys/bus/pci/devices/0000:00:06.0/sriov_numvfs");
	file("0x1003\n", "/sys/class/net/eth4/flags");
	read_machine();
	((struct system_iface *)system_find_iface(&machine, "eth1"))->has_address = true;
	((struct system_iface *)system_find_iface(&machine, "eth5"))->has_address = true;
	plan_make(&plan, &settings, &machine, PLAN_BIND);
	assert_fine();
	assert_int_equal(plan.n_ports, 2);
	assert_string_equal(plan.ports[0].name, "eth4");
	assert_string_equal(plan.ports[1].name, "eth5");
}

static void the_driver_follows_the_iommu(void **state)
{
	virtio("0000:00:03.0", "eth0");
	virtio("0000:00:04.0", "eth1");
	virtio("0000:00:05.0", "eth2");
	link_to("../../../kernel/iommu_groups/7", "/sys/bus/pci/devices/0000:00:05.0/iommu_group");
	make(PLAN_BIND);
	assert_string_equal(plan.ports[0].driver, "uio_pci_generic");
	assert_string_equal(plan.ports[1].driver, "vfio-pci");
}

static void a_bound_port_keeps_the_name_its_interface_had(void **state)
{
	virtio("0000:00:03.0", "eth0");
	pci("0000:00:04.0", "0x020000\n", "0x8086\n", "0x10ca\n", "vfio-pci");
	pci("0000:01:10.3", "0x020000\n", "0x8086\n", "0x10ca\n", "vfio-pci");
	pci("0001:02:00.0", "0x020000\n", "0x8086\n", "0x10ca\n", "vfio-pci");
	file("wan=0000:00:04.0\nnonsense\n=0000:01:10.3\n", "/run/ports");
	huge_pages("1000\n", "1000\n");
	make(PLAN_START);
	assert_fine();
	assert_int_equal(plan.n_ports, 3);
	assert_string_equal(plan.ports[0].name, "wan");
	assert_string_equal(plan.ports[1].name, "enp1s16f3");
	assert_string_equal(plan.ports[2].name, "enP1p2s0");
}

static void ports_are_taken_as_listed_and_numbered_pci_first(void **state)
{
	virtio("0000:00:03.0", "eth0");
	virtio("0000:00:04.0", "eth1");
	ports("lan=net_null0,no-rx=1 b=00:04.0 \t eth0x=0000:00:03.0");
	make(PLAN_BIND);
	assert_fine();
	assert_int_equal(plan.n_ports, 3);
	assert_string_equal(plan.ports[0].name, "eth0x");
	assert_string_equal(plan.ports[0].device, "0000:00:03.0");
	assert_string_equal(plan.ports[1].name, "b");
	assert_string_equal(plan.ports[1].device, "0000:00:04.0");
	assert_string_equal(plan.ports[2].name, "lan");
	assert_string_equal(plan.ports[2].device, "net_null0,no-rx=1");
	assert_false(plan.ports[2].is_pci);
}

static void what_no_port_is_is_refused_by_name(void **state)
{
	static const struct {
		const char *ports, *text;
	} cases[] = {
		{"0000:00:1f.0", "FP_PORTS: there is no PCI device 0000:00:1f.0"},
		{"0000:00:02.0", "FP_PORTS: PCI device 0000:00:02.0 is no network device"},
		{"0000:00:09.0", "FP_PORTS: no driver for PCI device 0000:00:09.0 (abcd:0001)"},
		{"a=00:03.0 b=0000:00:03.0", "FP_PORTS: PCI device 0000:00:03.0 stands twice"},
		{"a=net_null0 a=net_null1", "FP_PORTS: two ports are named 'a'"},
		{"a=net_null0 b=net_null0,size=64", "FP_PORTS: device 'net_null0' stands twice"},
		{"a=net_tap0",
		 "FP_PORTS: 'net_tap0' is neither a PCI address nor a virtual device"},
		{"eth1", "FP_PORTS: 'eth1' is neither a PCI address nor a virtual device"},
		{"net_null0", "FP_PORTS: virtual device 'net_null0' has no name"},
		{"net_pcap0,iface=eth1",
		 "FP_PORTS: virtual device 'net_pcap0,iface=eth1' has no name"},
		{"a234567890123456=net_null0",
		 "FP_PORTS: port name 'a234567890123456' is longer than 15 characters"},
		{"a/b=net_null0", "FP_PORTS: 'a/b' is no port name"},
		{"..=net_null0", "FP_PORTS: '..' is no port name"},
		{"fpn0=net_null0", "FP_PORTS: 'fpn0' is no port name"},
		{"=net_null0", "FP_PORTS: '' is no port name"},
		{"eth0=net_null0", "port eth0: Linux has another interface of that name"},
		{"a=net_af_packet0", "port a: device 'net_af_packet0' names no interface"},
		{"a=net_af_xdp0,iface=nix", "port a: there is no interface nix in Linux"},
	};

	virtio("0000:00:03.0", "eth0");
	pci("0000:00:02.0", "0x030000\n", "0x1af4\n", "0x1050\n", NULL);
	pci("0000:00:09.0", "0x020000\n", "0xabcd\n", "0x0001\n", NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ports(cases[i].ports);
		make(PLAN_BIND);
		assert_problem(cases[i].text);
	}
}

static void a_tap_of_the_name_is_no_obstacle(void **state)
{
	file("0x5002\n", "/sys/class/net/wan/tun_flags");
	file("0x1003\n", "/sys/class/net/wan/flags");
	ports("wan=net_null0");
	make(PLAN_START);
	assert_fine();
	file("0x5001\n", "/sys/class/net/wan/tun_flags"); /* a TUN is */
	make(PLAN_START);
	assert_problem("port wan: Linux has another interface of that name");
}

static void a_device_may_have_the_name_of_its_own_interface(void **state)
{
	virtio("0000:00:03.0", "eth0");
	virtio("0000:00:04.0", "eth1");
	ports("eth1=00:04.0");
	make(PLAN_BIND);
	assert_fine();
	ports("eth0=00:04.0");
	make(PLAN_BIND);
	assert_problem("port eth0: Linux has another interface of that name");
}

static void ports_must_be_bound_before_the_start(void **state)
{
	virtio("0000:00:03.0", "eth0");
	virtio("0000:00:04.0", "eth1");
	huge_pages("1000\n", "1000\n");
	make(PLAN_START);
	assert_problem(
		"port eth1: PCI device 0000:00:04.0 is bound to virtio-pci, not uio_pci_generic");
	virtio("0000:00:05.0", NULL);
	ports("a=00:05.0");
	make(PLAN_START);
	assert_problem(
		"port a: PCI device 0000:00:05.0 is bound to no driver, not uio_pci_generic");
}

static void a_machine_without_ports_is_no_mistake(void **state)
{
	virtio("0000:00:03.0", "eth0");
	make(PLAN_START);
	assert_fine();
	assert_int_equal(plan.n_ports, 0);
	assert_false(plan.hugepages);
}

static void more_ports_than_fit_are_refused(void **state)
{
	char text[SETTING_TEXT_MAX];
	size_t n = 0;

	for (unsigned i = 0; i < 65; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%c%u=net_null%u ", 'a', i % 100,
				      i);
	ports(text);
	make(PLAN_START);
	assert_int_equal(plan.n_ports, FPC_PORT_MAX);
	assert_problem("FP_PORTS: more than 64 ports");
}

/* --- cores --- */

static void cores_are_all_but_the_first(void **state)
{
	make(PLAN_START);
	assert_int_equal(plan.n_cores, 3);
	assert_int_equal(plan.cores[0], 1);
	assert_int_equal(plan.cores[2], 3);
	assert_int_equal(plan.control_core, 0);
	file("2\n", "/sys/devices/system/cpu/online");
	make(PLAN_START);
	assert_int_equal(plan.n_cores, 1);
	assert_int_equal(plan.cores[0], 2);
	assert_int_equal(plan.control_core, 2);
}

static void cores_are_checked(void **state)
{
	static const struct {
		const char *cores, *text;
	} cases[] = {
		{"1,4", "FP_CORES: CPU 4 isn't there or not allowed"},
		{"1-", "FP_CORES: '1-' is no list of CPUs"},
		{"1,", "FP_CORES: '1,' is no list of CPUs"},
		{"3-1", "FP_CORES: '3-1' is no list of CPUs"},
		{"0-1024", "FP_CORES: '0-1024' is no list of CPUs"},
		{"-1", "FP_CORES: '-1' is no list of CPUs"},
		{"1 2", "FP_CORES: '1 2' is no list of CPUs"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(settings.cores, sizeof(settings.cores), "%s", cases[i].cores);
		make(PLAN_START);
		assert_problem(cases[i].text);
	}
	snprintf(settings.cores, sizeof(settings.cores), "3,0-1,1");
	settings.control_core = 2;
	make(PLAN_START);
	assert_fine();
	assert_int_equal(plan.n_cores, 3);
	assert_int_equal(plan.cores[2], 3);
	settings.control_core = 9;
	make(PLAN_START);
	assert_problem("FP_CONTROL_CORE: CPU 9 isn't there or not allowed");
}

static void the_exception_core_is_the_control_core_unless_set(void **state)
{
	settings.control_core = 2;
	make(PLAN_START);
	assert_int_equal(plan.exception_core, 2);
	settings.exception_core = 3;
	make(PLAN_START);
	assert_fine();
	assert_int_equal(plan.control_core, 2);
	assert_int_equal(plan.exception_core, 3);
	settings.exception_core = 9;
	make(PLAN_START);
	assert_problem("FP_EXCEPTION_CORE: CPU 9 isn't there or not allowed");
}

static void rates_of_exceptions_depend_on_each_other(void **state)
{
	make(PLAN_START);
	assert_int_equal(plan.exception_rate, 20000);
	assert_int_equal(plan.exception_total, 100000);
	assert_int_equal(plan.exception_control, 20000);
	settings.exception_rate = 50;
	settings.exception_total = 70;
	make(PLAN_START);
	assert_int_equal(plan.exception_rate, 50);
	assert_int_equal(plan.exception_total, 70);
	assert_int_equal(plan.exception_control, 5000);
	settings.exception_control = 60;
	make(PLAN_START);
	assert_int_equal(plan.exception_control, 60);
}

static void more_cores_than_workers_are_left_alone(void **state)
{
	file("0-127\n", "/sys/devices/system/cpu/online");
	make(PLAN_START);
	assert_fine();
	assert_int_equal(plan.n_cores, PLAN_WORKERS_MAX);
	snprintf(settings.cores, sizeof(settings.cores), "0-127");
	make(PLAN_START);
	assert_problem("FP_CORES: more than 63 CPUs");
}

/* --- memory --- */

static void buffers_follow_ports_and_workers(void **state)
{
	ports("a=net_null0 b=net_null1");
	make(PLAN_START);
	assert_fine();
	assert_int_equal(plan.mbufs, 16384 + 2 * 3 * 4096);
	assert_int_equal(plan.mbuf_room, 2048);
	settings.mtu = 9000;
	make(PLAN_START);
	assert_int_equal(plan.mbuf_room, 9216);
	assert_true((uint64_t)plan.mbufs * plan.mbuf_room < (uint64_t)plan.memory << 20);
	settings.mbufs = 4096;
	make(PLAN_START);
	assert_problem(
		"FP_MBUFS=4096 is too few: the receive rings of 2 ports and 3 workers hold 6144");
	settings.mbufs = 8192;
	settings.memory = 64;
	make(PLAN_START);
	assert_problem("FP_MEMORY=64 is too little for 8192 packet buffers");
}

static void huge_pages_are_used_where_they_are(void **state)
{
	ports("a=net_null0");
	make(PLAN_START);
	assert_fine();
	assert_false(plan.hugepages);
	huge_pages("1000\n", "1000\n");
	make(PLAN_START);
	assert_fine();
	assert_true(plan.hugepages);
	huge_pages("1000\n", "10\n"); /* others have them: virtual devices do without */
	make(PLAN_START);
	assert_fine();
	assert_false(plan.hugepages);
	settings.hugepages = HUGEPAGES_NO;
	huge_pages("1000\n", "1000\n");
	make(PLAN_START);
	assert_false(plan.hugepages);
}

static void too_few_huge_pages_are_a_problem_at_the_start_only(void **state)
{
	ports("a=net_null0");
	settings.hugepages = HUGEPAGES_YES;
	settings.memory = 400;
	huge_pages("100\n", "50\n");
	make(PLAN_START);
	assert_problem("too few huge pages: 100 MiB are free, 400 MiB needed");
	make(PLAN_BIND);
	assert_fine();
	assert_int_equal(plan.huge_missing, 300UL << 20);
	make(PLAN_LOOK);
	assert_fine();
}

static void pci_ports_need_huge_pages(void **state)
{
	virtio("0000:00:03.0", "eth0");
	virtio("0000:00:04.0", "eth1");
	settings.hugepages = HUGEPAGES_NO;
	make(PLAN_BIND);
	assert_problem("FP_HUGEPAGES=no, but port eth1 is a PCI device");
}

/* --- TAPs --- */

static void vhost_is_used_where_it_is(void **state)
{
	make(PLAN_START);
	assert_false(plan.vhost);
	settings.tap = TAP_VHOST;
	make(PLAN_START);
	assert_problem("FP_TAP=vhost, but /dev/vhost-net is missing");
	file("", "/dev/vhost-net");
	make(PLAN_START);
	assert_fine();
	assert_true(plan.vhost);
	settings.tap = SETTING_AUTO;
	make(PLAN_START);
	assert_true(plan.vhost);
	settings.tap = TAP_QUEUE;
	make(PLAN_START);
	assert_false(plan.vhost);
}

static void nothing_goes_without_tun(void **state)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/dev/net/tun", root);
	assert_int_equal(unlink(path), 0);
	make(PLAN_START);
	assert_problem("/dev/net/tun is missing: ports can't appear in Linux");
	assert_true(plan.problems[0].hint[0]);
}

/* --- words --- */

static void pci_addresses_are_read_strictly(void **state)
{
	static const char *const bad[] = {
		"",	    "0",       "00:04",	   "00:04.8",	    "00:20.0",	 "0:0:04.0.0",
		"00:04.0x", "-1:04.0", " 00:04.0", "0000:00:04.0 ", "0000:00:04"};
	char address[PCI_ADDRESS_LEN];

	assert_int_equal(system_parse_pci("0000:0A:1f.7", address), 0);
	assert_string_equal(address, "0000:0a:1f.7");
	assert_int_equal(system_parse_pci("0a:1f.7", address), 0);
	assert_string_equal(address, "0000:0a:1f.7");
	assert_int_equal(system_parse_pci("10000:01:00.0", address), 0);
	assert_string_equal(address, "10000:01:00.0");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(system_parse_pci(bad[i], address), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(auto_takes_all_but_the_first_network_device),
		TEST(auto_leaves_linux_what_linux_uses),
		TEST(the_driver_follows_the_iommu),
		TEST(a_bound_port_keeps_the_name_its_interface_had),
		TEST(ports_are_taken_as_listed_and_numbered_pci_first),
		TEST(what_no_port_is_is_refused_by_name),
		TEST(a_tap_of_the_name_is_no_obstacle),
		TEST(a_device_may_have_the_name_of_its_own_interface),
		TEST(ports_must_be_bound_before_the_start),
		TEST(a_machine_without_ports_is_no_mistake),
		TEST(more_ports_than_fit_are_refused),
		TEST(cores_are_all_but_the_first),
		TEST(cores_are_checked),
		TEST(the_exception_core_is_the_control_core_unless_set),
		TEST(rates_of_exceptions_depend_on_each_other),
		TEST(more_cores_than_workers_are_left_alone),
		TEST(buffers_follow_ports_and_workers),
		TEST(huge_pages_are_used_where_they_are),
		TEST(too_few_huge_pages_are_a_problem_at_the_start_only),
		TEST(pci_ports_need_huge_pages),
		TEST(vhost_is_used_where_it_is),
		TEST(nothing_goes_without_tun),
		TEST(pci_addresses_are_read_strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
