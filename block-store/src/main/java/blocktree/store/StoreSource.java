package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.TreeId;
import com.google.protobuf.InvalidProtocolBufferException;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksIterator;

/**
 * Gives another node all that it lacks of an open store, as of one moment: the other end is a {@link StoreTarget} (docs/format.md, section 6). Commits and
 * collection go on meanwhile: what is sent is that of a snapshot of the database, whose space comes back when this ends.
 */
public final class StoreSource {

    private static final long STATE_CACHE_BYTES = 8 << 20;

    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    private record Found(byte[] encoded, Header header) {}

    /** What the target has: log up to {@code position}, 0 for nothing, and that state of the tree. */
    private record Wanted(TreeId tree, long position, Hash logHash, StateRoot root) {

        static Wanted parse(byte[] encoded) throws StoreException {
            TransferProto.Wanted m;
            try {
                m = TransferProto.Wanted.parseFrom(encoded);
            } catch (InvalidProtocolBufferException e) {
                throw new StoreException(
                        StoreException.Code.INVALID, "what the target has is not told in such a message", e);
            }
            if (m.getVersion() != TransferStream.VERSION) {
                throw StoreException.invalid("the target speaks version " + Integer.toUnsignedString(m.getVersion())
                        + " of the transfer of stores; this program speaks " + TransferStream.VERSION);
            }
            if (m.getPosition() < 0 || m.getStatePosition() < 0) {
                throw StoreException.invalid("the target has a log position out of range");
            }
            return new Wanted(
                    TreeId.of(Wire.sized(m.getTree(), Id.SIZE, "tree")),
                    m.getPosition(),
                    Wire.hash(m.getLogHash(), "log hash"),
                    new StateRoot(m.getStatePosition(), Wire.hash(m.getStateRoot(), "state root")));
        }
    }

    private final Ledger ledger;
    private final Ledger.Moment moment;
    private final StoreView view;
    private final TransferStream stream;
    private final Wanted wanted;
    private final RocksIterator headers;
    private final ViewSectors sectors;
    private final List<List<Found>> batch = new ArrayList<>();
    private long batchBytes;
    private long changedBlocks;

    private StoreSource(
            Ledger ledger,
            Ledger.Moment moment,
            TransferStream stream,
            Wanted wanted,
            RocksIterator headers,
            ViewSectors sectors) {
        this.ledger = ledger;
        this.moment = moment;
        this.view = moment.view();
        this.stream = stream;
        this.wanted = wanted;
        this.headers = headers;
        this.sectors = sectors;
    }

    /**
     * Serves one target. Returns when all is sent; the target may still be at work then. Closing a channel ends it with IO, closing the store closes both
     * channels; the caller closes them in any case. Both are in blocking mode.
     *
     * @param progress called a few times a second, on this thread
     * @throws StoreException DENIED when the target wants another tree, CONFLICT when its log is not the beginning of this one, CORRUPT when something is damaged
     *     here, IO, CLOSED, READ_ONLY; the target is told
     */
    public static void send(
            BlockStore store, ReadableByteChannel in, WritableByteChannel out, Consumer<TransferProgress> progress)
            throws StoreException {
        TransferStream stream = new TransferStream(in, out, progress);
        try (Gate.Pass pass = store.gate().enter()) {
            store.upkeep().endWithStore(List.of(in, out));
            try {
                Wanted wanted = Wanted.parse(stream.receive(TransferStream.Type.WANTED));
                try (Ledger.Moment moment = store.ledger().openMoment();
                        RocksIterator headers = moment.view().iterator(Column.HEADERS);
                        ViewSectors sectors = new ViewSectors(moment.view())) {
                    new StoreSource(store.ledger(), moment, stream, wanted, headers, sectors).run();
                }
            } finally {
                store.upkeep().forget(List.of(in, out));
            }
        } catch (StoreException e) {
            stream.fail(e);
            throw e;
        }
    }

    private void run() throws StoreException {
        ledger.sync(); // or the target could know of more than this node after a power loss
        checkWanted();
        boolean comparable = wanted.position > 0 && isVersionHere();
        offer(comparable);
        sendLog();
        try (StateMap map = view.stateMap(STATE_CACHE_BYTES)) {
            if (comparable) {
                map.diff(wanted.root, moment.root(), (before, now) -> {
                    if (now != null) {
                        add(now);
                    }
                });
            } else {
                map.forEach(moment.root(), this::add);
            }
        }
        sendBatch();
        stream.send(TransferStream.Type.END);
        stream.flush();
        stream.report();
    }

    private void checkWanted() throws StoreException {
        if (!wanted.tree.equals(ledger.tree())) {
            throw new StoreException(
                    StoreException.Code.DENIED, "tree " + wanted.tree + " is wanted, this is " + ledger.tree());
        }
        if (wanted.position == 0) {
            return;
        }
        if (wanted.position > moment.checkpoint().position()) {
            throw new StoreException(
                    StoreException.Code.CONFLICT,
                    "the log of the one to be brought up to date reaches position " + wanted.position
                            + ", this one only "
                            + moment.checkpoint().position());
        }
        byte[] entry = view.get(Column.LOG, Keys.log(wanted.position));
        if (entry == null || !LogEntry.parse(entry).hash().equals(wanted.logHash)) {
            throw new StoreException(
                    StoreException.Code.CONFLICT,
                    "the logs differ at position " + wanted.position + ": neither is the beginning of the other");
        }
    }

    /** Whether the target's version of the state map can be read here; then {@link #changedBlocks} of it differ. */
    private boolean isVersionHere() throws StoreException {
        long[] changed = {0};
        try (StateMap map = view.stateMap(STATE_CACHE_BYTES)) {
            map.diff(wanted.root, moment.root(), (before, now) -> changed[0]++);
        } catch (StoreException e) {
            if (e.code() == StoreException.Code.CORRUPT) {
                return false; // it was never here, or is collected: the log says what is newer
            }
            throw e;
        }
        changedBlocks = changed[0];
        return true;
    }

    private void offer(boolean comparable) throws StoreException {
        boolean all = wanted.position == 0;
        long blocks = all ? ledger.rocks().estimatedKeys(Column.HEADERS) : comparable ? changedBlocks : 0;
        long size = all ? ledger.rocks().liveBytes() : 0;
        stream.expect(blocks, size);
        TransferProto.Offered.Builder offered = TransferProto.Offered.newBuilder()
                .setVersion(TransferStream.VERSION)
                .setCheckpoint(Wire.bytes(moment.signed()))
                .setRootBlockNonce(Wire.bytes(ledger.rootNonce()))
                .setBlocks(blocks)
                .setSizeBytes(size);
        Order applied = moment.applied();
        if (applied != null) {
            offered.setOrder(
                    TransferProto.OrderMark.newBuilder().setTerm(applied.term()).setIndex(applied.index()));
        }
        stream.send(TransferStream.Type.OFFERED, offered.build().toByteArray());
    }

    private void sendLog() throws StoreException {
        try (RocksIterator it = view.iterator(Column.LOG)) {
            for (it.seek(Keys.log(wanted.position + 1)); it.isValid(); it.next()) {
                stream.send(TransferStream.Type.LOG_ENTRY, it.value());
            }
            view.checkEnd(it, Column.LOG);
        }
        sendSnapshotStates();
        stream.send(TransferStream.Type.LOG_END);
    }

    /** Of the snapshots whose entries do not sign their state, and that the target does not have. */
    private void sendSnapshotStates() throws StoreException {
        try (RocksIterator it = view.iterator(Column.META)) {
            for (it.seek(Snapshots.ROW_PREFIX);
                    it.isValid() && Keys.startsWith(it.key(), Snapshots.ROW_PREFIX);
                    it.next()) {
                byte[] state = Snapshots.state(it.value());
                if (state != null && Snapshots.position(it.value()) > wanted.position) {
                    if (state.length > TransferStream.Type.SNAPSHOT_STATE.sizeMax) {
                        throw StoreException.corrupt("the row of a snapshot has " + state.length + " bytes");
                    }
                    stream.send(TransferStream.Type.SNAPSHOT_STATE, state);
                }
            }
            view.checkEnd(it, Column.META);
        }
    }

    /** Takes a block of which {@code now} is the newest into the batch, if the target lacks something of it. */
    private void add(StateEntry now) throws StoreException {
        List<Found> found = new ArrayList<>();
        int bytes = 0;
        byte[] prefix = now.id().toBytes();
        byte[] newest = Keys.header(now.id(), now.generation());
        headers.seek(newest);
        if (!headers.isValid() || !Arrays.equals(headers.key(), newest)) {
            view.checkEnd(headers, Column.HEADERS);
            throw StoreException.corrupt("the newest header of block " + now.id() + " is missing");
        }
        for (; headers.isValid() && Keys.startsWith(headers.key(), prefix); headers.next()) {
            byte[] encoded = headers.value();
            HeaderRecord record = HeaderRecord.parse(encoded);
            if (record.position() <= wanted.position) {
                break;
            }
            bytes += encoded.length;
            if (bytes > TransferStream.BLOCK_HEADERS_SIZE_MAX) {
                throw StoreException.invalid("the headers of block " + now.id() + " are too many to be sent");
            }
            found.add(new Found(encoded, record.header()));
        }
        view.checkEnd(headers, Column.HEADERS);
        if (found.isEmpty()) {
            return; // the target has it all
        }
        batch.add(found);
        batchBytes += bytes;
        if (batchBytes >= TransferStream.BATCH_SIZE_BYTES || batch.size() >= TransferStream.BATCH_BLOCKS_MAX) {
            sendBatch();
        }
    }

    private void sendBatch() throws StoreException {
        if (batch.isEmpty()) {
            return;
        }
        for (List<Found> block : batch) {
            for (Found found : block) {
                stream.send(TransferStream.Type.HEADER, found.encoded);
            }
        }
        stream.send(TransferStream.Type.HEADERS_END);
        byte[] have = new byte[batch.size() * Long.BYTES];
        if (wanted.position > 0) {
            stream.flush();
            have = stream.receive(TransferStream.Type.HAVE);
            if (have.length != batch.size() * Long.BYTES) {
                throw StoreException.invalid(
                        "the target tells what it has of " + have.length / Long.BYTES + " of " + batch.size());
            }
        }
        for (int i = 0; i < batch.size(); i++) {
            List<Header> generations = batch.get(i).stream().map(Found::header).toList();
            new Payloads(Keys.getU64(have, i * Long.BYTES), generations.get(0).block()).run(generations);
            stream.blockDone();
        }
        batch.clear();
        batchBytes = 0;
    }

    /** Sends what the target lacks of one block. */
    private final class Payloads extends PayloadWalk {

        private final BlockId block;

        Payloads(long have, BlockId block) {
            super(have);
            this.block = block;
        }

        @Override
        byte[] top(int level, Header header) throws StoreException {
            return node(level, 0, header.payloadGeneration());
        }

        @Override
        byte[] node(int level, long index, Named named) throws StoreException {
            byte[] node = node(level, index, named.entry().generation());
            if (!IntegrityNode.isNode(level, node, named.entry().hash())) {
                throw StoreException.corrupt("integrity node " + level + "/" + index + " of block " + block
                        + " is not the one that its parent names");
            }
            return node;
        }

        private byte[] node(int level, long index, long generation) throws StoreException {
            byte @Nullable [] node = view.get(Column.NODES, Keys.node(block, level, index, generation));
            if (node == null || node.length > IntegrityNode.SIZE_MAX) {
                throw StoreException.corrupt(
                        "integrity node " + level + "/" + index + " of block " + block + " is missing");
            }
            stream.send(TransferStream.Type.NODE, node);
            return node;
        }

        @Override
        void sector(long index, Named named) throws StoreException {
            byte[] ciphertext = sectors.get(block, index, named.entry());
            if (ciphertext.length > TransferStream.Type.SECTOR.sizeMax) {
                throw StoreException.corrupt("sector " + index + " of block " + block + " is too large");
            }
            stream.send(TransferStream.Type.SECTOR, ciphertext);
        }

        @Override
        void taken(int level, long index, @Nullable Named named, Header header) {
            // The target has it.
        }
    }
}
