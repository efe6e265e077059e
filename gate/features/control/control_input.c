// SPDX-License-Identifier: BSD-3-Clause
/* The control plane that Linux and its daemons speak, and the fast path only has to let through: these protocols are
 * exceptions of the class FP_CLASS_CONTROL. A feature that handles a protocol itself registers it itself. */
#include "fastpath/fp.h"

static const struct {
	enum fp_control kind;
	uint16_t value;
} protocols[] = {
	{FP_CONTROL_ETHERTYPE, 0x0806}, /* ARP, RFC 826 */
	{FP_CONTROL_ETHERTYPE, 0x8809}, /* slow protocols: LACP, IEEE 802.1AX */
	{FP_CONTROL_ETHERTYPE, 0x88cc}, /* LLDP, IEEE 802.1AB */
	{FP_CONTROL_ETHERTYPE, 0x888e}, /* EAPOL, IEEE 802.1X */
	{FP_CONTROL_LLC, 0x4242},	/* spanning tree, IEEE 802.1D */
	{FP_CONTROL_LLC, 0xfefe},	/* IS-IS, ISO 10589 */

	{FP_CONTROL_IP, 2},   /* IGMP, RFC 3376 */
	{FP_CONTROL_IP, 46},  /* RSVP, RFC 2205 */
	{FP_CONTROL_IP, 88},  /* EIGRP, RFC 7868 */
	{FP_CONTROL_IP, 89},  /* OSPF, RFC 2328, RFC 5340 */
	{FP_CONTROL_IP, 103}, /* PIM, RFC 7761 */
	{FP_CONTROL_IP, 112}, /* VRRP, RFC 9568 */

	{FP_CONTROL_ICMP6, 130}, /* MLD: query, RFC 2710 */
	{FP_CONTROL_ICMP6, 131}, /* report */
	{FP_CONTROL_ICMP6, 132}, /* done */
	{FP_CONTROL_ICMP6, 143}, /* report of version 2, RFC 3810 */
	{FP_CONTROL_ICMP6, 133}, /* neighbour discovery: router solicitation, RFC 4861 */
	{FP_CONTROL_ICMP6, 134}, /* router advertisement */
	{FP_CONTROL_ICMP6, 135}, /* neighbour solicitation */
	{FP_CONTROL_ICMP6, 136}, /* neighbour advertisement */
	{FP_CONTROL_ICMP6, 137}, /* redirect */

	{FP_CONTROL_UDP, 67},	     /* DHCP server, RFC 2131 */
	{FP_CONTROL_UDP, 68},	     /* and client */
	{FP_CONTROL_UDP, 500},	     /* IKE, RFC 7296 */
	{FP_CONTROL_UDP_ZERO, 4500}, /* IKE, not the ESP on the same port: RFC 3948's marker */
	{FP_CONTROL_UDP, 520},	     /* RIP, RFC 2453 */
	{FP_CONTROL_UDP, 521},	     /* RIPng, RFC 2080 */
	{FP_CONTROL_UDP, 546},	     /* DHCPv6 client, RFC 8415 */
	{FP_CONTROL_UDP, 547},	     /* and server */
	{FP_CONTROL_UDP, 646},	     /* LDP: hello, RFC 5036 */
	{FP_CONTROL_UDP, 3784},	     /* BFD, RFC 5881 */
	{FP_CONTROL_UDP, 3785},	     /* its echo */
	{FP_CONTROL_UDP, 4784},	     /* BFD over several hops, RFC 5883 */
	{FP_CONTROL_UDP, 6784},	     /* BFD on the links of a LAG, RFC 7130 */

	{FP_CONTROL_TCP, 179}, /* BGP, RFC 4271 */
	{FP_CONTROL_TCP, 646}, /* LDP: session */
};

static int init(struct err *err)
{
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		int rc = fp_register_control(protocols[i].kind, protocols[i].value);

		if (rc)
			return err_set(err, -rc, "control: protocol %zu of the list is impossible",
				       i);
	}
	return 0;
}

const struct fp_feature control_fastpath = {.init = init};
