package blocktree.cluster;

import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.PeerStream;
import blocktree.btmsg.session.Service;
import blocktree.btmsg.session.StreamChunk;
import blocktree.cluster.ClusterProto.PieceName;
import blocktree.crypto.BlockId;
import blocktree.crypto.Id;
import blocktree.store.BlockStore;
import blocktree.store.Piece;
import blocktree.store.PieceSource;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** What one node has lost of sectors and integrity trees, from any other that is connected (docs/cluster.md, "What travels beside it"). Thread-safe. */
final class PieceExchange implements PieceSource {

    private static final String SERVICE = "cluster.piece";
    private static final Duration PATIENCE = Duration.ofSeconds(5);

    /** Somebody waits for it: no more are asked after this time. */
    private static final long FETCH_NANOS_MAX = TimeUnit.SECONDS.toNanos(10);

    private final Messenger messenger;
    private final BlockStore store;

    PieceExchange(Messenger messenger, BlockStore store) {
        this.messenger = messenger;
        this.store = store;
        messenger.register(Service.ofStreams(SERVICE, this::give));
    }

    @Override
    public byte @Nullable [] fetch(Piece piece, Predicate<byte[]> isIt) {
        byte[] name = PieceName.newBuilder()
                .setBlock(ByteString.copyFrom(piece.block().toBytes()))
                .setLevel(piece.level())
                .setIndex(piece.index())
                .setGeneration(piece.generation())
                .build()
                .toByteArray();
        long deadlineNanos = System.nanoTime() + FETCH_NANOS_MAX;
        for (Peer peer : messenger.peers()) {
            if (!peer.isConnected() || System.nanoTime() - deadlineNanos > 0) {
                continue;
            }
            try {
                byte[] bytes = fetch(name, peer);
                if (isIt.test(bytes)) {
                    return bytes;
                }
            } catch (IOException e) {
                // another may have it
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return null;
            }
        }
        return null;
    }

    private static byte[] fetch(byte[] name, Peer peer) throws IOException, InterruptedException {
        try (PeerStream stream = peer.openStream(SERVICE, name, PATIENCE)) {
            stream.end();
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            while (true) {
                try (StreamChunk chunk = stream.read()) {
                    if (chunk == null) {
                        return bytes.toByteArray();
                    }
                    ByteBuffer part = chunk.bytes();
                    if (bytes.size() + part.remaining() > Piece.SIZE_MAX) {
                        throw new IOException("more than a piece");
                    }
                    byte[] copy = new byte[part.remaining()];
                    part.get(copy);
                    bytes.writeBytes(copy);
                }
            }
        }
    }

    private void give(PeerStream stream) throws MessageException, InterruptedException {
        try {
            PieceName name = PieceName.parseFrom(stream.header());
            if (name.getBlock().size() != Id.SIZE) {
                throw new MessageException(MessageException.Code.FAILED, "no name of a piece");
            }
            byte[] bytes = store.piece(new Piece(
                    BlockId.of(name.getBlock().toByteArray()), name.getLevel(), name.getIndex(), name.getGeneration()));
            if (bytes == null) {
                throw new MessageException(MessageException.Code.FAILED, "it is not here");
            }
            stream.write(ByteBuffer.wrap(bytes));
            stream.end();
        } catch (InvalidProtocolBufferException | IllegalArgumentException | StoreException e) {
            throw new MessageException(MessageException.Code.FAILED, String.valueOf(e.getMessage()));
        }
    }
}
