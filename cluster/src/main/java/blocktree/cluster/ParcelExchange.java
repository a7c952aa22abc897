package blocktree.cluster;

import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.btmsg.session.PeerStream;
import blocktree.btmsg.session.Service;
import blocktree.btmsg.session.StreamChunk;
import blocktree.cluster.ClusterProto.ParcelName;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Parcels from node to node, over streams of their own (docs/cluster.md, "What travels beside it"): pushed by the writer before the
 * entry that names them, and asked for by who finds one missing. Thread-safe.
 */
final class ParcelExchange {

    private static final String PUT = "cluster.parcel.put";
    private static final String GET = "cluster.parcel.get";

    private static final Duration PATIENCE = Duration.ofSeconds(10);
    private static final int CHUNK = 256 << 10;

    /** What the receiver of a parcel says: before its bytes, and, the second one, also after them. */
    private static final byte SEND = 0;

    private static final byte HAVE = 1;

    private final Messenger messenger;
    private final Parcels parcels;
    private final ExecutorService threads;

    /** {@code isVoter}: who may push parcels here; every node of the tree may ask for them. */
    ParcelExchange(Messenger messenger, Parcels parcels, ExecutorService threads, Predicate<PeerIdentity> isVoter) {
        this.messenger = messenger;
        this.parcels = parcels;
        this.threads = threads;
        messenger.register(Service.ofStreams(PUT, this::take).onlyFor(isVoter));
        messenger.register(Service.ofStreams(GET, this::give));
    }

    static ParcelName name(Hash hash, long sizeBytes) {
        return ParcelName.newBuilder()
                .setHash(ByteString.copyFrom(hash.toBytes()))
                .setSizeBytes(sizeBytes)
                .build();
    }

    /** Null when it names none. */
    static @Nullable Hash hashOf(ParcelName name) {
        return name.getHash().size() == Id.SIZE ? Hash.of(name.getHash().toByteArray()) : null;
    }

    /** Pushes a parcel to each of {@code peers}, at the same time; completes for each once it has it on its device, or fails. */
    List<CompletableFuture<Void>> push(Hash hash, long sizeBytes, Collection<PrincipalId> peers) {
        List<CompletableFuture<Void>> pushed = new ArrayList<>();
        for (PrincipalId peer : peers) {
            pushed.add(CompletableFuture.runAsync(() -> unchecked(() -> push(hash, sizeBytes, peer)), threads));
        }
        return pushed;
    }

    private void push(Hash hash, long sizeBytes, PrincipalId to) throws IOException, InterruptedException {
        Peer peer = messenger.peer(to);
        try (PeerStream stream = peer.openStream(PUT, name(hash, sizeBytes).toByteArray(), PATIENCE)) {
            if (answer(stream) == SEND) {
                send(hash, stream);
                if (answer(stream) != HAVE) {
                    throw new IOException("the peer did not take the parcel");
                }
            }
            stream.end();
        }
    }

    private static byte answer(PeerStream stream) throws IOException, InterruptedException {
        try (StreamChunk chunk = stream.read()) {
            if (chunk == null) {
                throw new IOException("the peer did not answer");
            }
            return chunk.bytes().get();
        }
    }

    private void send(Hash hash, PeerStream stream) throws IOException, InterruptedException {
        try (ReadableByteChannel bytes = parcels.open(hash)) {
            if (bytes == null) {
                throw new FileNotFoundException("parcel " + hash + " is not kept here");
            }
            ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK);
            while (bytes.read(buffer.clear()) >= 0) {
                stream.write(buffer.flip());
            }
        }
        stream.end();
    }

    /** Asks {@code from} for a parcel, and waits for it. */
    void fetch(Hash hash, long sizeBytes, PrincipalId from) throws IOException, InterruptedException {
        try (PeerStream stream =
                messenger.peer(from).openStream(GET, name(hash, sizeBytes).toByteArray(), PATIENCE)) {
            stream.end();
            receive(hash, sizeBytes, stream);
        }
    }

    private void receive(Hash hash, long sizeBytes, PeerStream stream) throws IOException, InterruptedException {
        List<StreamChunk> open = new ArrayList<>(1);
        try {
            parcels.receive(hash, sizeBytes, () -> {
                open.forEach(StreamChunk::close);
                open.clear();
                StreamChunk chunk = stream.read();
                if (chunk == null) {
                    return null;
                }
                open.add(chunk);
                return chunk.bytes();
            });
        } finally {
            open.forEach(StreamChunk::close);
        }
    }

    // Asked by others

    private void take(PeerStream stream) throws MessageException, InterruptedException {
        answering(() -> {
            ParcelName name = parse(stream);
            Hash hash = namedBy(name);
            if (!parcels.has(hash)) {
                if (!parcels.hasRoomFor(name.getSizeBytes())) {
                    throw new MessageException(
                            MessageException.Code.BUSY, "too many parcels wait for their entries here");
                }
                stream.write(ByteBuffer.wrap(new byte[] {SEND}));
                receive(hash, name.getSizeBytes(), stream);
            }
            stream.write(ByteBuffer.wrap(new byte[] {HAVE}));
            stream.end();
        });
    }

    private void give(PeerStream stream) throws MessageException, InterruptedException {
        answering(() -> send(namedBy(parse(stream)), stream));
    }

    /** What fails here is told to the other side. */
    private static void answering(Task task) throws MessageException, InterruptedException {
        try {
            task.run();
        } catch (MessageException e) {
            throw e;
        } catch (IOException e) {
            throw new MessageException(MessageException.Code.FAILED, String.valueOf(e.getMessage()));
        }
    }

    private static ParcelName parse(PeerStream stream) throws IOException {
        try {
            return ParcelName.parseFrom(stream.header());
        } catch (InvalidProtocolBufferException e) {
            throw new IOException("no name of a parcel", e);
        }
    }

    private static Hash namedBy(ParcelName name) throws IOException {
        Hash hash = hashOf(name);
        if (hash == null) {
            throw new IOException("no name of a parcel");
        }
        return hash;
    }

    @FunctionalInterface
    private interface Task {
        void run() throws IOException, InterruptedException;
    }

    private static void unchecked(Task task) {
        try {
            task.run();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new UncheckedIOException(new InterruptedIOException("stopped"));
        }
    }
}
