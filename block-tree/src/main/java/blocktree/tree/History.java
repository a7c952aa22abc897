package blocktree.tree;

import blocktree.crypto.DomainId;
import blocktree.store.BlockStore;
import blocktree.store.GenerationInfo;
import blocktree.store.SnapshotInfo;
import blocktree.store.StoreException;
import blocktree.tree.FileSystemException.Code;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.locks.Lock;
import org.jspecify.annotations.Nullable;

/**
 * The directories under {@code /.snapshots}, which exist only when somebody looks: {@code NAME/} is the tree as a snapshot holds it; {@code .versions/PATH/} mirrors the directories of the live tree and
 * shows in place of each file a directory of its kept generations, {@code 000012@2026-11-22T18:50:03Z}.
 */
final class History {
    static final Name SNAPSHOTS = Name.of(".snapshots");
    static final Name VERSIONS = Name.of(".versions");
    private static final long VERSIONS_COOKIE = 1L << 62;

    private final BlockStore store;
    private final InodeTable table;

    History(BlockStore store, InodeTable table) {
        this.store = store;
        this.table = table;
    }

    /** The inode of a name in a virtual directory, pinned. */
    Inode find(Inode directory, Name name) throws FileSystemException {
        Origin origin = switch (directory.origin.kind()) {
            case SNAPSHOTS ->
                name.equals(VERSIONS)
                        ? directory.origin.as(Origin.Kind.VERSIONS_OF_DIRECTORY)
                        : snapshot(directory, name);
            case VERSIONS_OF_DIRECTORY -> mirrored(directory, name);
            case VERSIONS_OF_FILE -> generation(directory, name);
            case LIVE, SNAPSHOT, GENERATION -> throw new IllegalStateException("not a virtual directory");
        };
        if (origin == null) {
            throw new FileSystemException(Code.NOT_FOUND, "no such file or directory");
        }
        return table.acquire(origin);
    }

    private @Nullable Origin snapshot(Inode directory, Name name) throws FileSystemException {
        for (SnapshotInfo snapshot : snapshots()) {
            if (Arrays.equals(snapshot.name(), name.bytes())) {
                return new Origin(
                        Origin.Kind.SNAPSHOT, directory.origin.block(), directory.origin.domain(), snapshot, 0);
            }
        }
        return null;
    }

    private @Nullable Origin mirrored(Inode directory, Name name) throws FileSystemException {
        Inode live = table.acquire(directory.origin.as(Origin.Kind.LIVE));
        try {
            Lock shared = live.shared();
            try {
                DirectoryEntry entry = live.directory().find(name);
                return entry == null ? null : mirror(live, entry);
            } finally {
                shared.unlock();
            }
        } finally {
            live.unpin();
        }
    }

    /** What stands for a live entry below {@code .versions}; null for what has no versions worth showing. */
    private static @Nullable Origin mirror(Inode live, DirectoryEntry entry) {
        Origin child = live.origin.child(entry);
        return switch (entry.mode()) {
            case Attributes.TYPE_DIRECTORY -> child.as(Origin.Kind.VERSIONS_OF_DIRECTORY);
            case Attributes.TYPE_REGULAR -> child.as(Origin.Kind.VERSIONS_OF_FILE);
            default -> null;
        };
    }

    private @Nullable Origin generation(Inode directory, Name name) throws FileSystemException {
        for (GenerationInfo info : generations(directory)) {
            if (label(info).equals(name)) {
                return generationOrigin(directory, info);
            }
        }
        return null;
    }

    private static Origin generationOrigin(Inode directory, GenerationInfo info) {
        DomainId domain = directory.origin.domain();
        return new Origin(Origin.Kind.GENERATION, directory.origin.block(), domain, null, info.generation());
    }

    private static Name label(GenerationInfo info) {
        Instant time = Instant.ofEpochMilli(info.timeMillis()).truncatedTo(ChronoUnit.SECONDS);
        return Name.of(String.format(Locale.ROOT, "%06d@%s", info.generation(), time));
    }

    void list(Inode directory, long cookie, FileSystem.DirectorySink sink) throws FileSystemException {
        switch (directory.origin.kind()) {
            case SNAPSHOTS -> listSnapshots(directory, cookie, sink);
            case VERSIONS_OF_DIRECTORY -> listMirror(directory, cookie, sink);
            case VERSIONS_OF_FILE -> listGenerations(directory, cookie, sink);
            case LIVE, SNAPSHOT, GENERATION -> throw new IllegalStateException("not a virtual directory");
        }
    }

    private void listSnapshots(Inode directory, long cookie, FileSystem.DirectorySink sink) throws FileSystemException {
        for (SnapshotInfo snapshot : snapshots()) {
            if (snapshot.madePosition() > cookie) {
                Origin origin = new Origin(
                        Origin.Kind.SNAPSHOT, directory.origin.block(), directory.origin.domain(), snapshot, 0);
                if (!sink.entry(
                        Name.wrap(snapshot.name()),
                        table.number(origin),
                        Attributes.TYPE_DIRECTORY,
                        snapshot.madePosition())) {
                    return;
                }
            }
        }
        if (cookie < VERSIONS_COOKIE) {
            sink.entry(
                    VERSIONS,
                    table.number(directory.origin.as(Origin.Kind.VERSIONS_OF_DIRECTORY)),
                    Attributes.TYPE_DIRECTORY,
                    VERSIONS_COOKIE);
        }
    }

    private void listMirror(Inode directory, long cookie, FileSystem.DirectorySink sink) throws FileSystemException {
        Inode live = table.acquire(directory.origin.as(Origin.Kind.LIVE));
        try {
            long at = cookie;
            while (true) {
                List<DirectoryEntry> entries;
                Lock shared = live.shared();
                try {
                    entries = live.directory().after(at);
                } finally {
                    shared.unlock();
                }
                if (entries.isEmpty()) {
                    return;
                }
                for (DirectoryEntry entry : entries) {
                    Origin origin = mirror(live, entry);
                    if (origin != null
                            && !sink.entry(
                                    entry.name(), table.number(origin), Attributes.TYPE_DIRECTORY, entry.key())) {
                        return;
                    }
                    at = entry.key();
                }
            }
        } finally {
            live.unpin();
        }
    }

    private void listGenerations(Inode directory, long cookie, FileSystem.DirectorySink sink)
            throws FileSystemException {
        List<GenerationInfo> all = generations(directory);
        for (GenerationInfo info : all) {
            if (info.generation() > cookie
                    && !sink.entry(
                            label(info),
                            table.number(generationOrigin(directory, info)),
                            Attributes.TYPE_REGULAR,
                            info.generation())) {
                return;
            }
        }
    }

    /** The number of the directory that lists the snapshots. */
    long snapshotsNumber() {
        return table.number(Origin.live(store.rootBlock(), store.rootDomain()).as(Origin.Kind.SNAPSHOTS));
    }

    /** The directory above a virtual one, or above the root of a tree; pinned. */
    Inode parent(Inode directory) throws FileSystemException {
        Origin origin = directory.origin;
        return switch (origin.kind()) {
            case SNAPSHOT, GENERATION, VERSIONS_OF_FILE ->
                table.acquire(Origin.live(store.rootBlock(), store.rootDomain()).as(Origin.Kind.SNAPSHOTS));
            case LIVE, SNAPSHOTS -> table.acquire(Origin.live(store.rootBlock(), store.rootDomain()));
            case VERSIONS_OF_DIRECTORY -> {
                Inode live = table.acquire(origin.as(Origin.Kind.LIVE));
                try {
                    yield live.parent == null
                            ? table.acquire(origin.as(Origin.Kind.SNAPSHOTS))
                            : table.acquire(
                                    Origin.live(live.parent, origin.domain()).as(Origin.Kind.VERSIONS_OF_DIRECTORY));
                } finally {
                    live.unpin();
                }
            }
        };
    }

    private List<SnapshotInfo> snapshots() throws FileSystemException {
        try {
            // Names with NUL are not for people: checks of earlier versions have left them.
            return store.snapshots().stream()
                    .filter(snapshot -> DirectoryNode.validName(snapshot.name()))
                    .toList();
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
    }

    /** Oldest first. */
    private List<GenerationInfo> generations(Inode directory) throws FileSystemException {
        try {
            return store.generations(directory.origin.block()).stream()
                    .filter(info -> !info.tombstone())
                    .sorted(Comparator.comparingLong(GenerationInfo::generation))
                    .toList();
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
    }
}
