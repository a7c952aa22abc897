package blocktree.node;

import blocktree.btmsg.ControlHandler;
import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.Authority;
import blocktree.crypto.BlockId;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyRing;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.RecordKind;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.TreeId;
import blocktree.store.BlockStore;
import blocktree.store.Finding;
import blocktree.store.FsckOptions;
import blocktree.store.FsckReport;
import blocktree.store.KeyHolders;
import blocktree.store.Retention;
import blocktree.store.StoreException;
import blocktree.store.StoreOptions;
import blocktree.store.StoreStats;
import blocktree.tree.ChangeGate;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystemException;
import blocktree.tree.LatencyHistogram;
import blocktree.tree.Name;
import blocktree.tree.TreeCheck;
import blocktree.tree.TreeFileSystem;
import blocktree.tree.TreeFinding;
import blocktree.tree.TreeOptions;
import blocktree.tree.ViewOptions;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A tree and the store under it, opened and closed together. Thread-safe. */
final class OpenTree implements AutoCloseable {
    private static final Logger log = LoggerFactory.getLogger(OpenTree.class);
    private static final int ROOT_PERMISSIONS = 0755;
    private static final long NODE_CACHE_BYTES = 16 << 20;
    private static final long STATE_CACHE_BYTES = 16 << 20;
    private static final int BLOCK_KEYS_MAX = 16_384;

    /** Attempts to look into a store that a node writes to at the same time. */
    private static final int REHEARSALS = 5;

    /** Other nodes see changes that nobody has synced after about this time. */
    private static final long SHARED_DIRTY_AGE_MILLIS = 30;

    /** Blocks after which it is said how far it is. */
    private static final int HEALED_BETWEEN = 1_000;

    private static final long SCRUB_PAUSE_MILLIS = 7 * 86_400_000L;

    private final BlockStore store;
    /** Null of a blind node. */
    private final @Nullable TreeFileSystem files;

    private final @Nullable Membership membership;
    private final PrincipalId principal;
    private final boolean openedReadOnly;

    private OpenTree(
            BlockStore store,
            @Nullable Membership membership,
            @Nullable TreeFileSystem files,
            PrincipalId principal,
            boolean openedReadOnly) {
        this.store = store;
        this.membership = membership;
        this.files = files;
        this.principal = principal;
        this.openedReadOnly = openedReadOnly;
    }

    /** Makes the store of a new tree in {@code directory}, with an empty root directory that belongs to who owns the folder around it. */
    static void create(Path directory, Path anchor, TreeFounding founding, Identity node) throws NodeException {
        String tried = "to make the store " + directory;
        StoreOptions options = StoreOptions.defaults().withAnchor(anchor);
        try {
            Path around = Objects.requireNonNull(directory.getParent());
            int uid = (Integer) Files.getAttribute(around, "unix:uid");
            int gid = (Integer) Files.getAttribute(around, "unix:gid");
            BlockStore.create(directory, options, founding, node);
            try (BlockStore store = BlockStore.open(directory, options, node)) {
                TreeFileSystem.format(store, uid, gid, ROOT_PERMISSIONS);
            }
        } catch (StoreException e) {
            throw Failures.of(tried, e);
        } catch (FileSystemException e) {
            throw Failures.of(tried, e);
        } catch (IOException e) {
            throw Failures.of(tried, e, "check the disk and the permissions");
        }
    }

    /**
     * @param node stays the caller's, to be closed after the tree
     * @param toStop whether not to wait for other nodes any more
     */
    static OpenTree open(RunSettings settings, Identity node, BooleanSupplier toStop) throws NodeException {
        DataDirectory directory = settings.directory();
        String tried = "to open the store " + directory.tree();
        TreeOptions treeOptions = TreeOptions.defaults();
        treeOptions = treeOptions.withCaches(
                settings.dirtyBytesMax(), treeOptions.cleanBytesMax(), treeOptions.inodeBytesMax());
        StoreOptions storeOptions = storeOptions(settings);
        if (settings.isClustered()) {
            Membership.catchUp(settings, storeOptions, node, toStop);
        }
        BlockStore store = null;
        Membership membership = null;
        try {
            store = BlockStore.open(directory.tree(), storeOptions, node);
            membership = settings.isClustered() ? Membership.start(settings, store, node) : null;
            TreeFileSystem files = store.canRead() ? openFiles(store, membership, treeOptions) : null;
            if (files == null) {
                log.atInfo().addKeyValue("principal", node.id()).log("node_blind");
            }
            return new OpenTree(store, membership, files, node.id(), settings.readOnly());
        } catch (StoreException e) {
            throw Failures.of(tried, e);
        } catch (NodeException e) {
            closeAfter(store, membership, e);
            throw e;
        } catch (FileSystemException e) {
            closeAfter(store, membership, e);
            throw Failures.of(tried, e);
        }
    }

    /** Whether a takeover of the store came to its end. */
    static boolean isWhole(DataDirectory data, Identity node) {
        try (BlockStore store =
                BlockStore.open(data.tree(), newStoreOptions(data.anchor()).withReadOnly(true), node)) {
            return store.headPosition() > 0;
        } catch (StoreException e) {
            return false;
        }
    }

    /** The store alone, for a command that has taken the data directory. */
    static BlockStore openStore(RunSettings settings, Identity node) throws StoreException {
        return BlockStore.open(settings.directory().tree(), storeOptions(settings), node);
    }

    /** Up to where a store that no node has open has its log. */
    static long headPosition(RunSettings settings, Identity node) throws NodeException {
        try (BlockStore store = openStore(settings, node)) {
            return store.headPosition();
        } catch (StoreException e) {
            throw Failures.of("to open the store " + settings.directory().tree(), e);
        }
    }

    private static TreeFileSystem openFiles(BlockStore store, @Nullable Membership membership, TreeOptions options)
            throws FileSystemException {
        TreeFileSystem files = TreeFileSystem.open(
                store,
                membership == null ? options : options.withDirtyAgeMillis(SHARED_DIRTY_AGE_MILLIS),
                membership == null ? ChangeGate.OPEN : membership.gate());
        if (membership != null) {
            membership.follow(files);
        }
        return files;
    }

    /** Files and directories; USAGE, for what was {@code tried}, on a blind node. */
    private TreeFileSystem files(String tried) throws NodeException {
        if (files == null) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    "this node is blind: it was made a node without a key, and can read no name and no file",
                    "do it on a node that is trusted; this one keeps and serves what it cannot read");
        }
        return files;
    }

    /** Of a store that a machine takes over from another node. */
    static StoreOptions newStoreOptions(Path anchor) {
        return StoreOptions.defaults().withAnchor(anchor);
    }

    private static StoreOptions storeOptions(RunSettings settings) {
        Retention retention = new Retention(
                Math.min(Retention.DEFAULT.minLifetimeMillis(), settings.retentionMillis()),
                settings.retentionMillis());
        return StoreOptions.defaults()
                .withAnchor(settings.directory().anchor())
                .withReadOnly(settings.readOnly())
                .withAcceptLoss(settings.acceptLoss())
                .withRetention(retention)
                .withCaches(settings.cacheBytes(), NODE_CACHE_BYTES, STATE_CACHE_BYTES, BLOCK_KEYS_MAX);
    }

    private static void closeAfter(@Nullable BlockStore store, @Nullable Membership membership, Exception cause) {
        try {
            if (membership != null) {
                membership.close();
            }
            if (store != null) {
                store.close();
            }
        } catch (StoreException e) {
            cause.addSuppressed(e);
        }
    }

    TreeId id() {
        return store.tree();
    }

    boolean isReadOnly() {
        return store.isReadOnly();
    }

    /** Whether the store has stopped by itself, after an error that it could not recover from; reading goes on. */
    boolean hasStoppedWriting() {
        return !openedReadOnly && store.isReadOnly();
    }

    /** Null for a node that is alone. */
    @Nullable
    Membership membership() {
        return membership;
    }

    /** What a mount shows; to be closed by the caller. NOT_FOUND or NOT_DIRECTORY when there is no such subtree. */
    FileSystem view(ControlMount mount) throws FileSystemException, NodeException {
        List<Name> subtree = new ArrayList<>();
        for (String component : mount.subtree().split("/")) {
            if (!component.isEmpty()) {
                subtree.add(Name.of(component));
            }
        }
        return files("to mount the tree on " + mount.mountPoint())
                .view(new ViewOptions(mount.readOnly(), mount.showSnapshots(), subtree));
    }

    /** Everything written so far is on the disk when it returns. */
    void sync() throws NodeException {
        try {
            if (files == null) {
                store.sync();
            } else {
                files.sync();
            }
        } catch (FileSystemException e) {
            throw Failures.of("to write everything to disk", e);
        } catch (StoreException e) {
            throw Failures.of("to write everything to disk", e);
        }
    }

    /** Adds numbers by stable name, and how long commits and waiting for the device took. */
    void report(Map<String, Long> counters, List<ControlReply.Latency> latencies) {
        try {
            StoreStats stats = store.stats();
            counters.put("log.position", stats.headPosition());
            counters.put("log.checkpoint_position", stats.checkpointPosition());
            counters.put("store.commits", stats.commits());
            counters.put("store.blocks_corrupt", stats.blocksCorrupt());
            counters.put("store.open_generations", (long) stats.openGenerations());
            counters.put("store.collected_headers", stats.collectedHeaders());
            counters.put("store.collected_sectors", stats.collectedSectors());
            counters.put("store.snapshots", (long) stats.snapshots());
            counters.put("store.usable_bytes", stats.usableBytes());
            counters.put("store.total_bytes", stats.totalBytes());
            counters.put("store.live_bytes", stats.liveBytes());
            counters.put("scrub.bytes", stats.scrubbedBytes());
            counters.put("scrub.rounds", stats.scrubRounds());
            counters.put("scrub.errors", stats.scrubErrors());
            counters.put("store.healed", stats.healedPieces());
        } catch (StoreException e) {
            // A disk that fails must not hide the rest of the status.
            log.atWarn().setCause(e).log("status_incomplete");
        }
        if (files != null) {
            report(files.counters(), counters, latencies);
        }
        if (membership != null) {
            membership.report(counters);
        }
    }

    private static void report(
            TreeFileSystem.Counters tree, Map<String, Long> counters, List<ControlReply.Latency> latencies) {
        counters.put("tree.commits", tree.commits());
        counters.put("tree.dirty_bytes", tree.dirtyBytes());
        counters.put("tree.clean_bytes", tree.cleanBytes());
        counters.put("tree.dirty_inodes", (long) tree.dirtyInodes());
        counters.put("tree.cached_inodes", (long) tree.cachedInodes());
        counters.put("tree.open_handles", (long) tree.openHandles());
        counters.put("tree.cache_hits", tree.cacheHits());
        counters.put("tree.cache_misses", tree.cacheMisses());
        counters.put("tree.inode_hits", tree.inodeHits());
        counters.put("tree.inode_misses", tree.inodeMisses());
        latencies.add(latency("tree.commit", 0, tree.commitLatency()));
        latencies.add(latency("tree.sync", 0, tree.syncLatency()));
    }

    static ControlReply.Latency latency(String name, long failures, LatencyHistogram.Snapshot latency) {
        return new ControlReply.Latency(name, failures, latency.totalNanos(), latency.counts());
    }

    /** Holds a lock while the client listens. */
    void hold(ControlRequest.Lock lock, ControlHandler.Stream client) throws NodeException {
        LockHold.hold(files("to lock " + lock.path()), lock, client);
    }

    /** What programs hold, on all nodes. */
    ControlReply.Locks locks() throws NodeException {
        if (membership != null) {
            return membership.locks();
        }
        return new ControlReply.Locks(
                new SharedLocks(files("to show locks").locks())
                        .held().stream()
                                .map(lock -> SharedLocks.toReply(lock, principal, ""))
                                .toList(),
                List.of());
    }

    List<ControlReply.Snapshot> snapshots() throws NodeException {
        try {
            return store.snapshots().stream()
                    .filter(snapshot -> snapshot.name()[0] != 0) // left by a check of an earlier version
                    .map(snapshot -> new ControlReply.Snapshot(
                            new String(snapshot.name(), StandardCharsets.UTF_8),
                            snapshot.stateRoot().toHex(),
                            snapshot.timeMillis(),
                            snapshot.position()))
                    .toList();
        } catch (StoreException e) {
            throw Failures.of("to list the snapshots", e);
        }
    }

    void createSnapshot(String name) throws NodeException {
        String tried = "to make the snapshot " + name;
        byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
        if (bytes.length == 0
                || bytes.length > FileSystem.NAME_SIZE_MAX
                || name.contains("/")
                || name.contains("\0")
                || name.equals(".")
                || name.equals("..")) {
            throw new NodeException(
                    ExitCode.USAGE, tried, "not a name for a directory", "use 1 to 255 bytes without '/'");
        }
        try {
            files(tried).createSnapshot(Name.wrap(bytes));
        } catch (FileSystemException e) {
            throw switch (e.code()) {
                case EXISTS ->
                    new NodeException(
                            ExitCode.FAILED,
                            tried,
                            "there is one of that name",
                            "choose another name, or delete it first",
                            e);
                case INVALID ->
                    new NodeException(ExitCode.USAGE, tried, String.valueOf(e.getMessage()), "choose another name", e);
                default -> Failures.of(tried, e);
            };
        }
    }

    void deleteSnapshot(String name) throws NodeException {
        String tried = "to delete the snapshot " + name;
        try {
            files(tried).deleteSnapshot(Name.wrap(name.getBytes(StandardCharsets.UTF_8)));
        } catch (FileSystemException e) {
            throw e.code() == FileSystemException.Code.NOT_FOUND
                    ? new NodeException(
                            ExitCode.FAILED, tried, "there is none", "see the names: btnode snapshot list", e)
                    : Failures.of(tried, e);
        }
    }

    @FunctionalInterface
    private interface Look<T> {
        T at(Path directory) throws StoreException, CryptoException;
    }

    /** Looks into a store that a node may have open. */
    private static <T> T look(Path directory, String tried, Look<T> look) throws NodeException {
        for (int attempt = 1; ; attempt++) {
            try {
                return look.at(directory);
            } catch (CryptoException e) {
                throw Failures.of(tried, e);
            } catch (StoreException e) {
                // A node that writes meanwhile takes files away, and is in the middle of a log record.
                boolean moving = e.code() == StoreException.Code.IO || e.code() == StoreException.Code.CORRUPT;
                if (!moving || attempt == REHEARSALS) {
                    throw Failures.of(tried, e);
                }
            }
        }
    }

    /** What a process that was killed has written to the log is on the disk when it returns. */
    static void syncLog(Path directory) throws IOException {
        try (DirectoryStream<Path> logs = Files.newDirectoryStream(directory, "*.log")) {
            for (Path file : logs) {
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                    channel.force(true);
                }
            }
        }
    }

    /** Whose keys a store asks for. */
    static KeyHolders keyHolders(Path directory) throws NodeException {
        return look(directory, "to see whose keys the store " + directory + " asks for", BlockStore::keyHolders);
    }

    /**
     * Shows that keys open a store, which a node may have open: the node's decrypts the root directory, the root's the key of the domain that all is encrypted under. Null for one that is not
     * to be shown. Changes nothing.
     *
     * @throws NodeException BAD_KEY_FILE when they are those of another tree or node
     */
    static void rehearse(Path directory, @Nullable Identity root, @Nullable Identity node) throws NodeException {
        look(directory, "to open the store " + directory + " with the keys of the backup", path -> {
            if (root != null) {
                Authority authority = BlockStore.keyHolders(path).authority();
                try (KeyRing ring = new KeyRing(root, authority)) {
                    ring.currentKey(
                            Objects.requireNonNull(authority.rootDomain()).domain());
                }
            }
            if (node != null) {
                // The anchor of a node that runs is ahead of what was there when the store was opened; here it does not
                // matter.
                StoreOptions options =
                        StoreOptions.defaults().withReadOnly(true).withAcceptLoss(true);
                try (BlockStore store = BlockStore.open(path, options, node)) {
                    store.read(store.rootBlock()).attributes();
                }
            }
            return true;
        });
    }

    /** As {@link #appendAuthority(List, long)}, for a store that no node has open; on the disk when it returns. */
    static void appendAuthority(RunSettings settings, Identity node, List<TreeFounding.Entry> records, long after)
            throws NodeException {
        try (BlockStore store = openStore(settings, node)) {
            store.appendAuthority(records, after);
        } catch (StoreException e) {
            throw Failures.of(
                    "to put the new root key in force in the store "
                            + settings.directory().tree(),
                    e);
        }
    }

    /**
     * Makes {@code fresh} the node that keeps the store; on the disk when it returns.
     *
     * @param old null when it is lost
     */
    static void replaceNode(RunSettings settings, @Nullable Identity old, Identity root, Identity fresh)
            throws NodeException {
        Path directory = settings.directory().tree();
        String tried = "to put the new node key in force in the store " + directory;
        try {
            BlockStore.replaceNode(directory, storeOptions(settings), old, root, fresh);
        } catch (StoreException e) {
            if (old == null && e.code() == StoreException.Code.LOST_WRITES) {
                throw new NodeException(
                        ExitCode.DAMAGED_STORE,
                        tried,
                        String.valueOf(e.getMessage()),
                        "check the disk, put back the anchor or the data directory from a copy, or accept what is there with --accept-loss",
                        e);
            }
            throw Failures.of(tried, e);
        }
    }

    /** Checks what is committed of a store that no node has open, then names and links. */
    static ControlReply.Checked check(RunSettings settings, Identity node, boolean repair, NodeControl.CheckStream out)
            throws NodeException {
        try (BlockStore store = BlockStore.open(
                settings.directory().tree(), storeOptions(settings).withReadOnly(!repair), node)) {
            return check(store, repair, out, findings -> checkNames(store, findings));
        } catch (StoreException e) {
            throw Failures.of("to check the store " + settings.directory().tree(), e);
        }
    }

    /** Checks the store while it is in use, then names and links. Ends early, with what it has, when nobody listens any more. */
    ControlReply.Checked check(boolean repair, NodeControl.CheckStream out) throws NodeException {
        try {
            sync();
        } catch (NodeException e) {
            out.offer(new ControlReply.Finding(
                    "warning",
                    "not_written",
                    "",
                    "what waits to be written is not checked, and cannot be written: " + e.found(),
                    false));
        }
        try {
            // A store that is open for reading only does not change meanwhile; any other is checked as of one moment.
            return check(
                    store,
                    repair,
                    out,
                    findings ->
                            store.isReadOnly() || files == null ? checkNames(store, findings) : files.check(findings));
        } catch (StoreException e) {
            throw Failures.of("to check the store", e);
        }
    }

    /** Of a store that does not change meanwhile; nothing of one that this node cannot read. */
    private static TreeCheck.Summary checkNames(BlockStore store, Consumer<TreeFinding> findings)
            throws StoreException, FileSystemException {
        return store.canRead() ? TreeCheck.run(store, findings) : new TreeCheck.Summary(0, 0, 0, 0, 0);
    }

    /** Has what is lost here taken from other nodes, as far as they have it. */
    void heal(NodeControl.CheckStream out) throws NodeException {
        try {
            long before = store.stats().healedPieces();
            List<BlockId> blocks = new ArrayList<>();
            store.forEachBlock(blocks::add);
            for (int i = 0; i < blocks.size(); i++) {
                if (i % HEALED_BETWEEN == 0 && !out.offer(new ControlReply.Progress("looked_for", i, blocks.size()))) {
                    return;
                }
                try {
                    store.heal(blocks.get(i));
                } catch (StoreException e) {
                    if (!e.isUnreadable()) {
                        throw e;
                    } // else the check says what is left
                }
            }
            long healed = store.stats().healedPieces() - before;
            if (healed > 0) {
                out.offer(new ControlReply.Finding(
                        "warning",
                        "pieces_healed",
                        "",
                        healed + " sectors and integrity nodes were lost here, and are taken from other nodes",
                        true));
            }
        } catch (StoreException e) {
            throw Failures.of("to take what is lost here from other nodes", e);
        }
    }

    @FunctionalInterface
    private interface NameCheck {
        TreeCheck.Summary run(Consumer<TreeFinding> findings) throws StoreException, FileSystemException;
    }

    private static ControlReply.Checked check(
            BlockStore store, boolean repair, NodeControl.CheckStream out, NameCheck nameCheck)
            throws StoreException, NodeException {
        long liveBytes = store.liveBytes();
        FsckOptions options = FsckOptions.defaults()
                .withRepair(repair)
                .withProgress(
                        report -> out.offer(new ControlReply.Progress("checked", report.sectorBytes(), liveBytes)));
        FsckReport report = store.fsck(options, finding -> out.offer(toReply(finding)));
        TreeCheck.Summary names;
        try {
            names = nameCheck.run(finding -> out.offer(toReply(finding)));
        } catch (FileSystemException e) {
            throw Failures.of("to check names and links", e);
        }
        Map<String, Long> counters = new LinkedHashMap<>();
        counters.put("log_entries", report.logEntries());
        counters.put("blocks", report.blocks());
        counters.put("headers", report.headers());
        counters.put("integrity_nodes", report.nodes());
        counters.put("sectors", report.sectors());
        counters.put("sector_bytes", report.sectorBytes());
        counters.put("sealed_blocks", report.sealedBlocks());
        counters.put("store_errors", report.errors());
        counters.put("store_warnings", report.warnings());
        counters.put("repaired", report.repaired());
        counters.put("directories", names.directories());
        counters.put("files", names.files());
        counters.put("other_inodes", names.others());
        counters.put("tree_errors", names.errors());
        counters.put("tree_warnings", names.warnings());
        return new ControlReply.Checked(counters);
    }

    /** Verifies everything that is stored once; each damaged block is an event. */
    ControlReply.Checked scrub(NodeControl.CheckStream out) throws NodeException {
        ScheduledExecutorService observer = Executors.newSingleThreadScheduledExecutor();
        try {
            long before = store.stats().scrubbedBytes();
            observer.scheduleWithFixedDelay(() -> offerProgress(out, before), 1, 1, TimeUnit.SECONDS);
            long errors = store.scrub().runOnce();
            observer.shutdownNow(); // what follows is the last
            if (errors > 0) {
                out.offer(new ControlReply.Finding(
                        "error",
                        "scrub_errors",
                        "",
                        errors + " damaged; the events block_corrupt in the node's log name each",
                        false));
            }
            return new ControlReply.Checked(
                    Map.of("errors", errors, "bytes", store.stats().scrubbedBytes()));
        } catch (StoreException e) {
            throw Failures.of("to scrub the store", e);
        } finally {
            observer.shutdownNow();
        }
    }

    private void offerProgress(NodeControl.CheckStream out, long before) {
        try {
            StoreStats now = store.stats();
            out.offer(new ControlReply.Progress("verified", now.scrubbedBytes() - before, now.liveBytes()));
        } catch (StoreException e) {
            // it is about to end, and says why
        }
    }

    /** Takes records that a root key has signed for the authority as it was with its record at {@code after}; USAGE when the tree does not take them, and nothing was done. */
    void appendAuthority(List<ControlRequest.Record> records, long after) throws NodeException {
        String tried = "to take over what the root key has signed";
        try {
            store.appendAuthority(entries(records), after);
        } catch (StoreException e) {
            throw e.isRefusal()
                    ? new NodeException(
                            ExitCode.USAGE,
                            tried,
                            String.valueOf(e.getMessage()),
                            "something else was signed meanwhile: give the command again",
                            e)
                    : Failures.of(tried, e);
        } catch (CryptoException | IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    String.valueOf(e.getMessage()),
                    "use the same version of btnode as the node that runs",
                    e);
        }
    }

    /** As the store takes them. */
    static List<TreeFounding.Entry> entries(List<ControlRequest.Record> records) throws CryptoException {
        List<TreeFounding.Entry> entries = new ArrayList<>();
        for (ControlRequest.Record record : records) {
            entries.add(new TreeFounding.Entry(
                    RecordKind.of(record.kind()), record.payload().toByteArray()));
        }
        return entries;
    }

    /** Scrubs in the background from now on. */
    void startScrub(long bytesPerSecond) {
        store.scrub().start(bytesPerSecond, SCRUB_PAUSE_MILLIS);
    }

    private static ControlReply.Finding toReply(Finding finding) {
        return new ControlReply.Finding(
                finding.severity().name().toLowerCase(Locale.ROOT),
                finding.kind().label(),
                finding.subject() == null ? "" : finding.subject().toHex(),
                finding.detail(),
                finding.repaired());
    }

    private static ControlReply.Finding toReply(TreeFinding finding) {
        return new ControlReply.Finding(
                finding.severity().name().toLowerCase(Locale.ROOT),
                finding.code(),
                finding.block(),
                finding.detail(),
                false);
    }

    /** Writes back and closes; what cannot be written back is reported after everything is closed. */
    @Override
    public void close() throws NodeException {
        NodeException failure = null;
        if (membership != null) {
            membership.stopChanging();
        }
        try {
            if (files != null) {
                files.close();
            }
        } catch (FileSystemException e) {
            failure = Failures.of("to write everything to disk", e);
        }
        if (membership != null) {
            membership.close();
        }
        try {
            store.close();
        } catch (StoreException e) {
            if (failure == null) {
                failure = Failures.of("to close the store", e);
            }
        }
        if (failure != null) {
            throw failure;
        }
    }
}
