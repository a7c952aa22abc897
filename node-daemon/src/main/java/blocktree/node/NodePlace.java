package blocktree.node;

import blocktree.crypto.PrincipalId;
import java.io.IOException;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What a node is called and where it is reached, and what it keeps of its cluster beside the store.
 *
 * @param directory of the cluster's files in the data directory
 * @param listen null where it only dials
 * @param given under which addresses it is reached; empty: those of {@code listen}
 */
record NodePlace(Path directory, String name, @Nullable InetSocketAddress listen, List<InetSocketAddress> given) {
    private static final String NAME = "name";
    private static final String VOTERS = "voters";
    private static final String BEHIND = "behind";
    private static final String RECOVERING = "recovering";
    private static final int ADDRESSES_MAX = 8;
    private static final int NAME_SIZE_MAX = 63;

    static NodePlace of(RunSettings settings) throws NodeException {
        Path directory = settings.directory().cluster();
        String name = settings.name();
        try {
            if (name.isEmpty()) {
                Path file = directory.resolve(NAME);
                name = Files.exists(file) ? Files.readString(file).strip() : hostName();
            }
        } catch (IOException e) {
            throw Failures.of("to see what this node is called", e, "check the permissions of " + directory);
        }
        return new NodePlace(directory, name, settings.listen(), settings.advertised());
    }

    /** This machine's, as far as it can be a node's. */
    static String hostName() {
        String host;
        try {
            host = Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
        } catch (IOException e) {
            host = "";
        }
        String name = host.replaceAll("[^A-Za-z0-9._-]", "-").replaceFirst("^[^A-Za-z0-9]+", "");
        name = name.substring(0, Math.min(name.length(), NAME_SIZE_MAX));
        return name.isEmpty() ? "node" : name;
    }

    /** What a machine that has joined was called then. */
    static String joinedName(Path directory) throws IOException {
        return Files.readString(directory.resolve(NAME)).strip();
    }

    /** Written by a machine that has joined, before its first start. */
    static void write(Path directory, String name, Set<PrincipalId> voters) throws IOException {
        Files.createDirectories(directory);
        Files.writeString(directory.resolve(NAME), name + "\n");
        Files.writeString(
                directory.resolve(VOTERS),
                voters.stream().map(PrincipalId::toHex).collect(Collectors.joining("\n", "", "\n")));
    }

    /** Who voted when this node came to be: itself, when it has founded the tree. */
    Set<PrincipalId> firstVoters(PrincipalId self) throws IOException {
        try {
            return Files.readAllLines(directory.resolve(VOTERS)).stream()
                    .filter(line -> !line.isBlank())
                    .map(PrincipalId::parse)
                    .collect(Collectors.toSet());
        } catch (NoSuchFileException e) {
            return Set.of(self);
        }
    }

    /** From whom the store is to be brought up to date before it is opened; null when it need not be. */
    @Nullable
    PrincipalId behind() throws NodeException {
        Path file = directory.resolve(BEHIND);
        try {
            return Files.exists(file) ? PrincipalId.parse(Files.readString(file).strip()) : null;
        } catch (IOException e) {
            throw Failures.of("to see whether the store is up to date", e, "check the permissions of " + directory);
        }
    }

    void noteBehind(PrincipalId from) throws IOException {
        Files.writeString(directory.resolve(BEHIND), from.toHex() + "\n");
    }

    void forgetBehind() throws IOException {
        Files.deleteIfExists(directory.resolve(BEHIND));
    }

    /** BAD_CONFIGURATION when a command was begun here that the node cannot run before the end of. */
    void requireWhole() throws NodeException {
        String unfinished = UnfinishedJoin.isIn(directory)
                ? "btnode join"
                : Files.exists(directory.resolve(RECOVERING)) ? "btnode recover" : null;
        if (unfinished != null) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    "to take part in the tree's cluster",
                    unfinished + " was begun here and has not come to its end",
                    "give that command again, with the same data directory");
        }
    }

    void noteRecovery() throws IOException {
        Files.writeString(directory.resolve(RECOVERING), "");
        sync();
    }

    void forgetRecovery() throws IOException {
        sync();
        Files.delete(directory.resolve(RECOVERING));
    }

    private void sync() throws IOException {
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    /**
     * Under which addresses others reach this node.
     *
     * @param local where it listens, with the port that was chosen; null where it does not
     */
    List<InetSocketAddress> advertised(@Nullable InetSocketAddress local) throws IOException {
        if (!given.isEmpty() || local == null) {
            return given;
        }
        if (!local.getAddress().isAnyLocalAddress()) {
            return List.of(unresolved(local.getAddress(), local.getPort()));
        }
        List<InetSocketAddress> all = new ArrayList<>();
        for (NetworkInterface each : NetworkInterface.networkInterfaces().toList()) {
            if (each.isUp() && !each.isLoopback()) {
                each.inetAddresses()
                        .filter(address -> !address.isLinkLocalAddress())
                        .forEach(address -> all.add(unresolved(address, local.getPort())));
            }
        }
        if (all.isEmpty()) {
            all.add(unresolved(InetAddress.getLoopbackAddress(), local.getPort()));
        }
        return List.copyOf(all.subList(0, Math.min(all.size(), ADDRESSES_MAX)));
    }

    private static InetSocketAddress unresolved(InetAddress address, int port) {
        String host = address.getHostAddress();
        if (address instanceof Inet6Address) {
            host = Objects.requireNonNull(host).replaceAll("%.*", "");
        }
        return InetSocketAddress.createUnresolved(host, port);
    }
}
