package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;

/**
 * What a member gives to somebody who is to bring a new machine: a secret, where to use it, of which tree, and until when; as a code to
 * be typed (docs/format.md, section 2.4). Holds no key. Immutable but for {@link #close}.
 */
public final class Invitation implements AutoCloseable {

    /** Most addresses. */
    public static final int ADDRESSES_MAX = 8;

    private static final int VERSION = 1;

    /** 128 bits: to find another tree with the same takes as long as to guess the secret. */
    private static final int TREE_SIZE = 16;

    private static final int CHECK_SIZE = 4;
    private static final int HEAD_SIZE = 2;
    private static final int SIZE_MAX = 255;

    /** Of the longest code, with room for whatever spacing. */
    private static final int TEXT_SIZE_MAX = 1000;

    private static final int NAME = 0;
    private static final int IPV4 = 4;
    private static final int IPV6 = 6;
    private static final Pattern HOST_NAME = Pattern.compile("[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?");
    private static final long SECONDS_MAX = 0xffffffffL;

    private final InvitationSecret secret;
    private final byte[] treeStart;
    private final long expiresMillis;
    private final List<InetSocketAddress> addresses;

    private Invitation(
            InvitationSecret secret, byte[] treeStart, long expiresMillis, List<InetSocketAddress> addresses) {
        this.secret = secret;
        this.treeStart = treeStart;
        this.expiresMillis = expiresMillis;
        this.addresses = addresses;
    }

    /**
     * With a fresh secret.
     *
     * @param addresses of members, 1 to 8, that of this one first; a host's name in one that is unresolved
     * @param expiresMillis wall clock, whole seconds count
     * @throws IllegalArgumentException when an address is none to connect to, or all do not fit
     */
    public static Invitation create(TreeId tree, List<InetSocketAddress> addresses, long expiresMillis) {
        return create(InvitationSecret.random(), tree, addresses, expiresMillis);
    }

    static Invitation create(
            InvitationSecret secret, TreeId tree, List<InetSocketAddress> addresses, long expiresMillis) {
        long expiresSeconds = expiresMillis / 1000;
        if (addresses.isEmpty()
                || addresses.size() > ADDRESSES_MAX
                || expiresSeconds < 0
                || expiresSeconds > SECONDS_MAX) {
            throw new IllegalArgumentException("an invitation has 1 to 8 addresses, and an end before the year 2106");
        }
        Invitation made = new Invitation(
                secret, Arrays.copyOf(tree.toBytes(), TREE_SIZE), expiresSeconds * 1000, List.copyOf(addresses));
        made.encode(); // throws for what cannot be written
        return made;
    }

    /** Reads what a person has typed: MALFORMED says whether it is mistyped or cut short, UNSUPPORTED that it is of another version. */
    public static Invitation parse(String code) throws CryptoException {
        String characters = Base32.normalise(code, TEXT_SIZE_MAX, "an invitation code");
        byte[] bytes = Base32.decode(characters);
        int bodySize = bytes.length - CHECK_SIZE;
        if (bodySize < HEAD_SIZE || !Base32.encode(bytes).equals(characters) || !isChecked(bytes)) {
            boolean cut = bytes.length < HEAD_SIZE || bytes.length < (bytes[1] & 0xff);
            throw CryptoException.malformed(
                    cut
                            ? "the invitation code ends too soon: a part of it is missing"
                            : "the invitation code is mistyped: its check does not fit the rest");
        }
        if (bytes[0] != VERSION) {
            throw new CryptoException(
                    CryptoException.Code.UNSUPPORTED,
                    "the invitation code has version " + (bytes[0] & 0xff) + "; this program knows version " + VERSION
                            + ": use the same program on both machines");
        }
        try {
            return parse(ByteBuffer.wrap(bytes, HEAD_SIZE, bodySize - HEAD_SIZE), bytes);
        } catch (BufferUnderflowException | IllegalArgumentException e) {
            throw new CryptoException(CryptoException.Code.MALFORMED, "no program makes such an invitation code", e);
        } finally {
            Arrays.fill(bytes, (byte) 0);
        }
    }

    private static Invitation parse(ByteBuffer in, byte[] whole) throws CryptoException {
        byte[] secret = new byte[InvitationSecret.SIZE];
        in.get(secret);
        byte[] treeStart = new byte[TREE_SIZE];
        in.get(treeStart);
        long expiresMillis = (in.getInt() & SECONDS_MAX) * 1000;
        int count = in.get() & 0xff;
        if (count < 1 || count > ADDRESSES_MAX) {
            throw CryptoException.malformed("an invitation code with " + count + " addresses");
        }
        List<InetSocketAddress> addresses = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            addresses.add(readAddress(in));
        }
        Invitation read =
                new Invitation(InvitationSecret.takeOver(secret), treeStart, expiresMillis, List.copyOf(addresses));
        if (!Arrays.equals(read.encode(), whole)) {
            throw CryptoException.malformed("no program writes an invitation code like that");
        }
        return read;
    }

    private static InetSocketAddress readAddress(ByteBuffer in) throws CryptoException {
        int kind = in.get();
        byte[] host = new byte[kind == NAME ? in.get() & 0xff : kind == IPV4 ? 4 : kind == IPV6 ? 16 : 0];
        in.get(host);
        int port = in.getShort() & 0xffff;
        if (kind == NAME) {
            return InetSocketAddress.createUnresolved(new String(host, US_ASCII), port);
        }
        try {
            return new InetSocketAddress(InetAddress.getByAddress(host), port);
        } catch (UnknownHostException e) {
            throw new CryptoException(
                    CryptoException.Code.MALFORMED, "an invitation code with an address of no known kind", e);
        }
    }

    private byte[] encode() {
        ByteBuffer out = ByteBuffer.allocate(
                HEAD_SIZE + InvitationSecret.SIZE + TREE_SIZE + 5 + ADDRESSES_MAX * 258 + CHECK_SIZE);
        byte[] bytes = secret.reveal();
        out.put((byte) VERSION).put((byte) 0).put(bytes).put(treeStart);
        Arrays.fill(bytes, (byte) 0);
        out.putInt((int) (expiresMillis / 1000)).put((byte) addresses.size());
        addresses.forEach(address -> putAddress(out, address));
        int size = out.position() + CHECK_SIZE;
        if (size > SIZE_MAX) {
            throw new IllegalArgumentException("the addresses are too long for an invitation code: take shorter ones");
        }
        out.put(1, (byte) size);
        byte[] encoded = Arrays.copyOf(out.array(), size);
        System.arraycopy(check(encoded), 0, encoded, size - CHECK_SIZE, CHECK_SIZE);
        Arrays.fill(out.array(), (byte) 0);
        return encoded;
    }

    private static void putAddress(ByteBuffer out, InetSocketAddress address) {
        InetAddress ip = address.getAddress();
        String name = address.getHostString().toLowerCase(Locale.ROOT);
        if (address.getPort() == 0
                || ip != null && (ip.isAnyLocalAddress() || ip.isMulticastAddress())
                || ip == null
                        && (name.length() > 253 || !HOST_NAME.matcher(name).matches())) {
            throw new IllegalArgumentException(address + " is no address to connect to");
        }
        if (ip == null) {
            out.put((byte) NAME).put((byte) name.length()).put(name.getBytes(US_ASCII));
        } else {
            byte[] host = ip.getAddress();
            out.put((byte) (host.length == 4 ? IPV4 : IPV6)).put(host);
        }
        out.putShort((short) address.getPort());
    }

    /** Of all but the last four bytes. */
    private static byte[] check(byte[] encoded) {
        byte[] hash = TaggedHash.of("invitation")
                .add(encoded, 0, encoded.length - CHECK_SIZE)
                .digest();
        return Arrays.copyOf(hash, CHECK_SIZE);
    }

    private static boolean isChecked(byte[] encoded) {
        int bodySize = encoded.length - CHECK_SIZE;
        return Arrays.equals(encoded, bodySize, encoded.length, check(encoded), 0, CHECK_SIZE);
    }

    /** The whole of it as text: whoever reads it can use it. */
    public String toCode() {
        byte[] encoded = encode();
        try {
            return Base32.group(Base32.encode(encoded));
        } finally {
            Arrays.fill(encoded, (byte) 0);
        }
    }

    /** Whether it invites to this tree. */
    public boolean isTo(TreeId tree) {
        return Arrays.equals(treeStart, 0, TREE_SIZE, tree.toBytes(), 0, TREE_SIZE);
    }

    /** Closed with the invitation. */
    public InvitationSecret secret() {
        return secret;
    }

    /** Wall clock of whoever has made it. */
    public long expiresMillis() {
        return expiresMillis;
    }

    /** At least one; a host's name is not resolved. */
    public List<InetSocketAddress> addresses() {
        return addresses;
    }

    @Override
    public void close() {
        secret.close();
    }

    @Override
    public String toString() {
        return "Invitation[" + secret.id() + ", redacted]";
    }
}
