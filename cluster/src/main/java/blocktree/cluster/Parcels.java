package blocktree.cluster;

import blocktree.crypto.Hash;
import blocktree.store.Parcel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * The parcels on this voter's device: a file for each, named by its hash, from before its entry is acknowledged until what it brought is
 * on the device as part of the store, and for a while longer for voters who missed it. Thread-safe.
 */
final class Parcels {

    /** Bytes of parcels that are kept for others although this voter needs them no more. */
    private static final long KEPT_SIZE_BYTES_MAX = 256L << 20;

    /** Bytes of parcels that came and are in no entry yet. */
    private static final long UNNAMED_SIZE_BYTES_MAX = 1L << 30;

    /** What is in no entry after so long, nobody will put in order. */
    private static final long UNNAMED_NANOS_MAX = TimeUnit.HOURS.toNanos(1);

    private static final String PART = ".part";

    /** One file. */
    private static final class Kept {
        final long sizeBytes;
        final long sinceNanos = System.nanoTime();
        boolean named;
        boolean found;

        Kept(long sizeBytes) {
            this.sizeBytes = sizeBytes;
        }
    }

    private final Path dir;
    private final AtomicLong sequence = new AtomicLong();

    // guarded by this
    private final Map<Hash, Kept> kept = new HashMap<>();
    private final Map<Hash, CompletableFuture<Void>> awaited = new HashMap<>();
    private final Deque<Hash> applied = new ArrayDeque<>(); // since the store was synced last
    private final Deque<Hash> spare = new ArrayDeque<>();
    private long spareSizeBytes;
    private long unnamedSizeBytes;

    /** Takes over what is in {@code dir}, which is made when it is missing. */
    Parcels(Path dir) throws IOException {
        this.dir = Files.createDirectories(dir);
        try (DirectoryStream<Path> files = Files.newDirectoryStream(dir)) {
            for (Path file : files) {
                Hash hash = hashOf(file);
                if (hash == null) {
                    Files.delete(file);
                } else {
                    Kept one = new Kept(Files.size(file));
                    one.named = true;
                    one.found = true;
                    kept.put(hash, one);
                }
            }
        }
    }

    private static @Nullable Hash hashOf(Path file) {
        try {
            return Hash.of(HexFormat.of().parseHex(file.getFileName().toString()));
        } catch (IllegalArgumentException e) {
            return null;
        }
    }

    private Path path(Hash hash) {
        return dir.resolve(hash.toHex());
    }

    /** Gives bytes until null. */
    @FunctionalInterface
    interface Source {
        @Nullable
        ByteBuffer next() throws IOException, InterruptedException;
    }

    /** Writes bytes, and gives the hash that names them. */
    @FunctionalInterface
    interface Content {
        Hash write(WritableByteChannel channel) throws IOException;
    }

    /** Writes a parcel; it is on the device when this returns. */
    Hash keep(Content content) throws IOException {
        Path part = newPart();
        try {
            Hash hash;
            try (FileChannel channel = create(part)) {
                hash = content.write(channel);
                channel.force(false);
            }
            publish(part, hash);
            return hash;
        } finally {
            Files.deleteIfExists(part);
        }
    }

    /**
     * Writes what {@code source} gives, which has to be what {@code hash} names; it is on the device when this returns.
     *
     * @throws IOException also when it is something else, or more than {@code sizeBytes}
     */
    void receive(Hash hash, long sizeBytes, Source source) throws IOException, InterruptedException {
        if (sizeBytes < 0 || sizeBytes > Parcel.SIZE_MAX) {
            throw new IOException("a parcel of " + sizeBytes + " bytes");
        }
        Path part = newPart();
        try {
            MessageDigest digest = Parcel.digest();
            long left = sizeBytes;
            try (FileChannel channel = create(part)) {
                for (ByteBuffer bytes = source.next(); bytes != null; bytes = source.next()) {
                    left -= bytes.remaining();
                    if (left < 0) {
                        throw new IOException("a parcel has more bytes than the " + sizeBytes + " that were announced");
                    }
                    digest.update(bytes.duplicate());
                    while (bytes.hasRemaining()) {
                        channel.write(bytes);
                    }
                }
                if (!Hash.of(digest.digest()).equals(hash)) {
                    throw new IOException("what came as parcel " + hash + " is something else");
                }
                channel.force(false);
            }
            publish(part, hash);
        } finally {
            Files.deleteIfExists(part);
        }
    }

    private Path newPart() {
        return dir.resolve(sequence.incrementAndGet() + PART);
    }

    private static FileChannel create(Path part) throws IOException {
        return FileChannel.open(part, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    }

    private void publish(Path part, Hash hash) throws IOException {
        long sizeBytes = Files.size(part);
        Files.move(part, path(hash), StandardCopyOption.ATOMIC_MOVE);
        try (FileChannel directory = FileChannel.open(dir, StandardOpenOption.READ)) {
            directory.force(true);
        }
        CompletableFuture<Void> waiting;
        synchronized (this) {
            waiting = awaited.remove(hash);
            Kept before = kept.get(hash);
            if (before == null || before.found) {
                Kept one = new Kept(sizeBytes);
                one.named = waiting != null || before != null;
                unnamedSizeBytes += one.named ? 0 : sizeBytes;
                kept.put(hash, one);
            }
        }
        if (waiting != null) {
            waiting.complete(null);
        }
    }

    /** Whether so many bytes more may come before entries name them. */
    synchronized boolean hasRoomFor(long sizeBytes) {
        return unnamedSizeBytes + sizeBytes <= UNNAMED_SIZE_BYTES_MAX;
    }

    synchronized boolean has(Hash hash) {
        return kept.containsKey(hash);
    }

    /** An entry names it: completes once it is here. From now on it stays until it is {@link #applied}. */
    synchronized CompletableFuture<Void> named(Hash hash) {
        Kept one = kept.get(hash);
        if (one == null) {
            // Who waited before may have given up.
            return awaited.compute(
                    hash, (h, before) -> before == null || before.isDone() ? new CompletableFuture<>() : before);
        }
        name(one);
        return CompletableFuture.completedFuture(null);
    }

    private void name(Kept one) {
        if (!one.named) {
            one.named = true;
            unnamedSizeBytes -= one.sizeBytes;
        }
    }

    /** Its bytes, not verified anew; null when it is not here. */
    @Nullable
    ReadableByteChannel open(Hash hash) throws IOException {
        try {
            return FileChannel.open(path(hash), StandardOpenOption.READ);
        } catch (NoSuchFileException e) {
            return null;
        }
    }

    /** It is not what its name says: it is as if it had never come. */
    void drop(Hash hash) throws IOException {
        synchronized (this) {
            Kept one = kept.remove(hash);
            if (one != null) {
                name(one);
            }
        }
        Files.deleteIfExists(path(hash));
    }

    /** The store has applied it, or has refused it. */
    synchronized void applied(Hash hash) {
        Kept one = kept.get(hash);
        if (one != null) {
            name(one);
            one.found = false;
            applied.add(hash);
        }
    }

    /**
     * What was {@link #applied} before the call is on the device as part of the store: makes room. With {@code caughtUp}, whatever was here at the start and was not
     * applied since is in no entry that is still to come.
     */
    void synced(int appliedCount, boolean caughtUp) throws IOException {
        List<Hash> gone = new ArrayList<>();
        synchronized (this) {
            for (int i = 0; i < appliedCount; i++) {
                Hash hash = applied.remove();
                spare.add(hash);
                Kept one = kept.get(hash);
                spareSizeBytes += one == null ? 0 : one.sizeBytes;
            }
            while (spareSizeBytes > KEPT_SIZE_BYTES_MAX) {
                Hash hash = spare.remove();
                Kept one = kept.remove(hash);
                spareSizeBytes -= one == null ? 0 : one.sizeBytes;
                gone.add(hash);
            }
            long now = System.nanoTime();
            kept.entrySet().removeIf(entry -> {
                Kept one = entry.getValue();
                boolean old = !one.named && now - one.sinceNanos > UNNAMED_NANOS_MAX;
                if (old) {
                    unnamedSizeBytes -= one.sizeBytes;
                }
                boolean left = old || one.found && caughtUp;
                if (left) {
                    gone.add(entry.getKey());
                }
                return left;
            });
        }
        for (Hash hash : gone) {
            Files.deleteIfExists(path(hash));
        }
    }

    /** To be given to {@link #synced} once the store was synced after this. */
    synchronized int appliedCount() {
        return applied.size();
    }
}
