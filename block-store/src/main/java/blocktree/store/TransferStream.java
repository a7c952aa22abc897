package blocktree.store;

import blocktree.crypto.SectorCipher;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * The records by which a store is taken over (docs/format.md, section 6) on a pair of channels: {@code u8 type ‖ u32 size ‖ body}. What comes is hostile: a
 * record that is larger than its type allows is refused before it is read. For one thread.
 */
final class TransferStream {

    static final int VERSION = 1;

    /** Blocks of which headers come before the first of their payloads. */
    static final int BATCH_BLOCKS_MAX = 4_096;

    /** No further block is added to a batch whose headers have so many bytes. */
    static final int BATCH_SIZE_BYTES = 1 << 20;

    /** Bytes of all headers of one block. */
    static final int BLOCK_HEADERS_SIZE_MAX = 64 << 20;

    private static final int MESSAGE_SIZE_MAX = 4_096;
    private static final int FAILURE_CHARACTERS_MAX = 500;
    private static final int PREFIX_SIZE = 1 + Integer.BYTES;
    private static final int BUFFER_SIZE = 256 << 10;
    private static final long PROGRESS_NANOS = TimeUnit.MILLISECONDS.toNanos(250);

    /** Kinds of records; their numbers are those of the format. */
    enum Type {
        WANTED(MESSAGE_SIZE_MAX),
        OFFERED(MESSAGE_SIZE_MAX),
        LOG_ENTRY(LogEntry.SIZE_MAX),
        LOG_END(0),
        HEADER(HeaderRecord.SIZE_MAX),
        HEADERS_END(0),
        HAVE(BATCH_BLOCKS_MAX * Long.BYTES),
        NODE(IntegrityNode.SIZE_MAX),
        SECTOR((1 << Header.SECTOR_SIZE_LOG2_MAX) + SectorCipher.OVERHEAD),
        END(0),
        FAILED(MESSAGE_SIZE_MAX),
        SNAPSHOT_STATE(MESSAGE_SIZE_MAX);

        private static final Type[] ALL = values();

        final int sizeMax;

        Type(int sizeMax) {
            this.sizeMax = sizeMax;
        }
    }

    private static final byte[] EMPTY = {};

    private final ReadableByteChannel in;
    private final WritableByteChannel out;
    private final Consumer<TransferProgress> progress;
    private final ByteBuffer outgoing = ByteBuffer.allocateDirect(BUFFER_SIZE);
    private final ByteBuffer incoming = ByteBuffer.allocateDirect(BUFFER_SIZE).limit(0);
    private byte[] body = EMPTY;
    private long sizeBytes;
    private long blocks;
    private long blocksTotal;
    private long totalSizeBytes;
    private long progressNanos = System.nanoTime() - PROGRESS_NANOS;

    /** The channels, in blocking mode, stay the caller's; closing one ends what waits for it. */
    TransferStream(ReadableByteChannel in, WritableByteChannel out, Consumer<TransferProgress> progress) {
        this.in = in;
        this.out = out;
        this.progress = progress;
    }

    // ---- progress ----

    void expect(long expectedBlocks, long expectedSizeBytes) {
        blocksTotal = expectedBlocks;
        totalSizeBytes = expectedSizeBytes;
    }

    void blockDone() {
        blocks++;
        if (System.nanoTime() - progressNanos >= PROGRESS_NANOS) {
            report();
        }
    }

    void report() {
        progressNanos = System.nanoTime();
        progress.accept(new TransferProgress(blocks, blocksTotal, sizeBytes, totalSizeBytes));
    }

    // ---- sending ----

    void send(Type type, byte[] record) throws StoreException {
        if (record.length > type.sizeMax) {
            throw new IllegalArgumentException(type + " of " + record.length + " bytes");
        }
        if (outgoing.remaining() < PREFIX_SIZE) {
            flush();
        }
        outgoing.put((byte) (type.ordinal() + 1)).putInt(record.length);
        sizeBytes += PREFIX_SIZE + record.length;
        for (int at = 0; at < record.length; ) {
            int size = Math.min(outgoing.remaining(), record.length - at);
            outgoing.put(record, at, size);
            at += size;
            if (!outgoing.hasRemaining()) {
                flush();
            }
        }
    }

    void send(Type type) throws StoreException {
        send(type, EMPTY);
    }

    /** Tells the other side why there will be nothing more, as far as that goes. */
    void fail(StoreException e) {
        byte[] message = String.valueOf(e.getMessage()).getBytes(StandardCharsets.UTF_8);
        byte[] record = new byte[1 + Math.min(message.length, MESSAGE_SIZE_MAX - 1)];
        record[0] = (byte) (e.code().ordinal() + 1);
        System.arraycopy(message, 0, record, 1, record.length - 1);
        try {
            send(Type.FAILED, record);
            flush();
        } catch (StoreException gone) {
            e.addSuppressed(gone);
        }
    }

    void flush() throws StoreException {
        outgoing.flip();
        try {
            while (outgoing.hasRemaining()) {
                out.write(outgoing);
            }
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "the other side takes no more: " + e, e);
        } finally {
            outgoing.clear();
        }
    }

    // ---- receiving ----

    /** The next record's type; its content is in {@link #body} until the next call. What the other side failed of is thrown. */
    Type next() throws StoreException {
        fill(PREFIX_SIZE);
        int number = incoming.get();
        int size = incoming.getInt();
        if (number < 1 || number > Type.ALL.length) {
            throw StoreException.invalid("the other side sends a record of type " + (number & 0xff));
        }
        Type type = Type.ALL[number - 1];
        if (size < 0 || size > type.sizeMax) {
            throw StoreException.invalid("the other side sends a record " + type + " of "
                    + Integer.toUnsignedString(size) + " bytes, at most " + type.sizeMax + " are allowed");
        }
        body = size == 0 ? EMPTY : new byte[size];
        for (int at = 0; at < size; ) {
            fill(1);
            int part = Math.min(incoming.remaining(), size - at);
            incoming.get(body, at, part);
            at += part;
        }
        sizeBytes += PREFIX_SIZE + size;
        if (type == Type.FAILED) {
            throw failure();
        }
        return type;
    }

    byte[] body() {
        return body;
    }

    /** The content of the next record, which must be of this type. */
    byte[] receive(Type type) throws StoreException {
        Type found = next();
        if (found != type) {
            throw unexpected(found);
        }
        return body;
    }

    static StoreException unexpected(Type type) {
        return StoreException.invalid("the other side sends a record " + type + " out of turn");
    }

    private StoreException failure() {
        StoreException.Code[] codes = StoreException.Code.values();
        int number = body.length == 0 ? 0 : body[0];
        StoreException.Code code =
                number < 1 || number > codes.length ? StoreException.Code.INVALID : codes[number - 1];
        StringBuilder message = new StringBuilder("the other side: ");
        if (body.length > 0) {
            // It goes to logs and terminals.
            new String(Arrays.copyOfRange(body, 1, body.length), StandardCharsets.UTF_8)
                    .codePoints()
                    .limit(FAILURE_CHARACTERS_MAX)
                    .map(c -> Character.isLetterOrDigit(c) || c >= ' ' && c < 127 ? c : '?')
                    .forEach(message::appendCodePoint);
        }
        return new StoreException(code, message.toString());
    }

    private void fill(int size) throws StoreException {
        if (incoming.remaining() >= size) {
            return;
        }
        incoming.compact();
        try {
            while (incoming.position() < size) {
                if (in.read(incoming) < 0) {
                    throw new StoreException(StoreException.Code.IO, "the other side ended before it was done");
                }
            }
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "the other side sends no more: " + e, e);
        } finally {
            incoming.flip();
        }
    }
}
