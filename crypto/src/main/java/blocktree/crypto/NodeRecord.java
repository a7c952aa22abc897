package blocktree.crypto;

import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/**
 * Says what a node is called and where it is reached, signed by itself (docs/format.md, section 2). The newest of a node takes the
 * place of those before. Others are told an address to dial, not whom to trust there.
 *
 * @param sequence from 1; higher than in every earlier record of the node
 * @param name as {@link #isName}; two nodes may say the same
 * @param addresses at most 16, unresolved, in the node's order; none for a node that only dials
 */
public record NodeRecord(
        SignedEnvelope envelope, TreeId tree, long sequence, String name, List<InetSocketAddress> addresses) {

    /** Most addresses. */
    public static final int ADDRESSES_MAX = 16;

    private static final int HOST_SIZE_MAX = 255;
    private static final int IPV6_GROUPS = 8;
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,62}");
    private static final Pattern LABELS =
            Pattern.compile("LABEL(\\.LABEL)*".replace("LABEL", "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"));
    private static final Pattern NUMBERS = Pattern.compile("[0-9.]*");
    private static final Pattern IPV4 =
            Pattern.compile("BYTE(\\.BYTE){3}".replace("BYTE", "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"));
    private static final Pattern IPV6_GROUP = Pattern.compile("[0-9A-Fa-f]{1,4}");

    /**
     * Signed by the node.
     *
     * @throws IllegalArgumentException when sequence, name or an address is none
     */
    public static NodeRecord create(
            Identity node, TreeId tree, long sequence, String name, List<InetSocketAddress> addresses) {
        CryptoProto.Node.Builder body = CryptoProto.Node.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setTree(Wire.bytes(tree))
                .setSequence(sequence)
                .setName(name);
        for (InetSocketAddress address : addresses) {
            body.addAddresses(CryptoProto.NodeAddress.newBuilder()
                    .setHost(address.getHostString())
                    .setPort(address.getPort()));
        }
        try {
            return read(node.sign(SignatureKind.NODE, body.build().toByteArray()));
        } catch (CryptoException e) {
            throw new IllegalArgumentException("not a valid node record", e);
        }
    }

    /** Reads hostile bytes; does not verify the signature. */
    public static NodeRecord parse(byte[] encoded) throws CryptoException {
        return read(SignedEnvelope.parse(encoded));
    }

    private static NodeRecord read(SignedEnvelope envelope) throws CryptoException {
        CryptoProto.Node body =
                Wire.parse(CryptoProto.Node.parser(), envelope.body(), SignedEnvelope.SIZE_MAX, "node record");
        Wire.checkVersion(body.getVersion(), body.getSuite(), "node record");
        if (body.getSequence() < 1) {
            throw CryptoException.malformed("sequence of node record is out of range");
        }
        if (!isName(body.getName())) {
            throw CryptoException.malformed("name in node record is none");
        }
        if (body.getAddressesCount() > ADDRESSES_MAX) {
            throw new CryptoException(
                    CryptoException.Code.TOO_MANY,
                    body.getAddressesCount() + " addresses of a node, more than " + ADDRESSES_MAX);
        }
        List<InetSocketAddress> addresses = new ArrayList<>();
        for (CryptoProto.NodeAddress address : body.getAddressesList()) {
            if (!isHost(address.getHost()) || address.getPort() < 1 || address.getPort() > 0xffff) {
                throw CryptoException.malformed("address in node record is none");
            }
            addresses.add(InetSocketAddress.createUnresolved(address.getHost(), address.getPort()));
        }
        return new NodeRecord(
                envelope,
                TreeId.of(Wire.id(body.getTree(), "tree id")),
                body.getSequence(),
                body.getName(),
                List.copyOf(addresses));
    }

    /** Whether a node may be called that: 1 to 63 ASCII letters, digits, dots, underlines and hyphens, a letter or digit first. */
    public static boolean isName(String name) {
        return NAME.matcher(name).matches();
    }

    /**
     * Whether a node record may say that: an IPv4 address as four decimal numbers, an IPv6 address of hexadecimal groups without a zone, or
     * a host name of ASCII labels, at most 255 characters. Decided here and not by the platform: every node must come to the same answer.
     */
    public static boolean isHost(String host) {
        if (host.isEmpty() || host.length() > HOST_SIZE_MAX) {
            return false;
        }
        if (host.indexOf(':') >= 0) {
            return isIpv6(host);
        }
        return (NUMBERS.matcher(host).matches() ? IPV4 : LABELS).matcher(host).matches();
    }

    private static boolean isIpv6(String host) {
        int gap = host.indexOf("::");
        if (gap < 0) {
            return isGroups(host, IPV6_GROUPS, IPV6_GROUPS);
        }
        String head = host.substring(0, gap);
        String tail = host.substring(gap + 2);
        String joined = head.isEmpty() || tail.isEmpty() ? head + tail : head + ':' + tail;
        return joined.isEmpty() || isGroups(joined, 1, IPV6_GROUPS - 1);
    }

    private static boolean isGroups(String text, int min, int max) {
        String[] groups = text.split(":", -1);
        if (groups.length < min || groups.length > max) {
            return false;
        }
        for (String group : groups) {
            if (!IPV6_GROUP.matcher(group).matches()) {
                return false;
            }
        }
        return true;
    }

    /** Whose it is: its signer. */
    public PrincipalId node() {
        return envelope.signer();
    }

    public byte[] toBytes() {
        return envelope.toBytes();
    }
}
