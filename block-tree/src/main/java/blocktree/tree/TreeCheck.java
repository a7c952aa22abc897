package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.store.BlockStore;
import blocktree.store.OpenBlock;
import blocktree.store.StatePin;
import blocktree.store.StoreException;
import blocktree.tree.TreeFinding.Severity;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Checks a tree from its root down: every entry names a readable block of the right domain and kind, every directory's B+tree is in order, link counts, parents and counts are right, sizes fit the
 * sectors, and every live block has a name or stands in the orphan list.
 *
 * <p>Codes: {@code unreadable}, {@code malformed}, {@code dangling}, {@code wrong_domain}, {@code wrong_kind}, {@code wrong_parent}, {@code second_name} (of a directory), {@code link_count}, {@code
 * entry_count}, {@code tree_order}, {@code tree_shape}, {@code leaked_sectors}, {@code size}, {@code orphan}, {@code access_list}.
 */
public final class TreeCheck {

    /** What was looked at. */
    public record Summary(long directories, long files, long others, long errors, long warnings) {}

    private record Found(long names, long linkCount) {}

    private final BlockStore store;
    private final @Nullable StatePin pin;
    private final Consumer<TreeFinding> findings;
    /** Blocks with a name, so that others can be found; directories among them must not be met twice. */
    private final Set<BlockId> named = new HashSet<>();
    /** Names seen of blocks that should have several. */
    private final Map<BlockId, Found> linked = new HashMap<>();

    private final Deque<Directory> pending = new ArrayDeque<>();

    private long directories;
    private long files;
    private long others;
    private long errors;
    private long warnings;

    private record Directory(
            BlockId block, DomainId domain, @Nullable BlockId parent) {}

    private TreeCheck(BlockStore store, @Nullable StatePin pin, Consumer<TreeFinding> findings) {
        this.store = store;
        this.pin = pin;
        this.findings = findings;
    }

    /** Checks a store that nothing changes meanwhile. */
    public static Summary run(BlockStore store, Consumer<TreeFinding> findings) throws StoreException {
        return new TreeCheck(store, null, findings).walk();
    }

    /** Checks the tree as it was when it was pinned. */
    static Summary run(BlockStore store, StatePin pin, Consumer<TreeFinding> findings) throws StoreException {
        return new TreeCheck(store, pin, findings).walk();
    }

    private Summary walk() throws StoreException {
        pending.add(new Directory(store.rootBlock(), store.rootDomain(), null));
        named.add(store.rootBlock());
        for (Directory next = pending.poll(); next != null; next = pending.poll()) {
            OpenBlock block = read(next.block(), next.domain());
            if (block != null) {
                checkDirectory(next, block);
            }
        }
        linked.forEach((block, found) -> {
            if (found.names() != found.linkCount()) {
                report(
                        Severity.WARNING,
                        "link_count",
                        block,
                        "has " + found.names() + " names and a link count of " + found.linkCount());
            }
        });
        try {
            checkOrphans();
        } catch (StoreException e) {
            if (!e.isUnreadable()) {
                throw e;
            }
            report(
                    Severity.ERROR,
                    "unreadable",
                    store.rootBlock(),
                    "it cannot be told which blocks no directory names: " + e.getMessage());
        }
        return new Summary(directories, files, others, errors, warnings);
    }

    private void report(Severity severity, String code, BlockId block, String detail) {
        if (severity == Severity.ERROR) {
            errors++;
        } else {
            warnings++;
        }
        findings.accept(new TreeFinding(severity, code, block.toHex(), detail));
    }

    private @Nullable OpenBlock read(BlockId id, DomainId domain) throws StoreException {
        OpenBlock block;
        try {
            block = pin == null ? store.read(id) : store.readAt(id, pin);
        } catch (StoreException e) {
            switch (e.code()) {
                case NOT_FOUND -> report(Severity.ERROR, "dangling", id, "a directory names it, and it does not exist");
                case CORRUPT, IO, DENIED -> report(Severity.ERROR, "unreadable", id, String.valueOf(e.getMessage()));
                default -> throw e;
            }
            return null;
        }
        if (!block.domain().equals(domain)) {
            report(Severity.ERROR, "wrong_domain", id, "its directory entry names another domain");
            return null;
        }
        return block;
    }

    private @Nullable StoredInode decode(OpenBlock block) throws StoreException {
        try {
            StoredInode inode = StoredInode.decode(block.attributes(), block.sectorCount());
            if (inode.protection().hasDamagedList()) {
                report(
                        Severity.WARNING,
                        "access_list",
                        block.id(),
                        "has an access control list that is none, or not that of its mode");
            }
            return inode;
        } catch (FormatException e) {
            report(Severity.ERROR, "malformed", block.id(), String.valueOf(e.getMessage()));
        } catch (StoreException e) {
            if (!e.isUnreadable() && e.code() != StoreException.Code.DENIED) {
                throw e;
            }
            report(Severity.ERROR, "unreadable", block.id(), String.valueOf(e.getMessage()));
        }
        return null;
    }

    private void checkDirectory(Directory expected, OpenBlock block) throws StoreException {
        StoredInode inode = decode(block);
        if (inode == null) {
            return;
        }
        StoredInode.Directory content = inode.directory();
        if (content == null) {
            report(Severity.ERROR, "wrong_kind", block.id(), "a directory entry says that it is a directory");
            return;
        }
        directories++;
        BlockId parent = content.parent();
        if (!Objects.equals(parent, expected.parent())) {
            report(
                    Severity.WARNING,
                    "wrong_parent",
                    block.id(),
                    "does not name the directory that holds it as its parent");
        }
        List<DirectoryEntry> entries = entries(block, content);
        if (entries == null) {
            return;
        }
        if (entries.size() != content.layout().entryCount()) {
            report(
                    Severity.WARNING,
                    "entry_count",
                    block.id(),
                    "has " + entries.size() + " entries and says "
                            + content.layout().entryCount());
        }
        long subdirectories = 0;
        for (DirectoryEntry entry : entries) {
            subdirectories += entry.mode() == Attributes.TYPE_DIRECTORY ? 1 : 0;
            checkEntry(block, entry);
        }
        if (inode.linkCount() != 2 + subdirectories) {
            report(
                    Severity.WARNING,
                    "link_count",
                    block.id(),
                    "has " + subdirectories + " subdirectories and a link count of " + inode.linkCount());
        }
    }

    private void checkEntry(OpenBlock directory, DirectoryEntry entry) throws StoreException {
        DomainId domain = entry.domain() == null ? directory.domain() : entry.domain();
        boolean first = named.add(entry.block());
        if (entry.mode() == Attributes.TYPE_DIRECTORY) {
            if (first) {
                pending.add(new Directory(entry.block(), domain, directory.id()));
            } else {
                report(Severity.ERROR, "second_name", entry.block(), "a directory with two names, or part of a circle");
            }
            return;
        }
        if (!first) {
            Found found = linked.get(entry.block());
            linked.put(
                    entry.block(), found == null ? new Found(2, 1) : new Found(found.names() + 1, found.linkCount()));
            return;
        }
        OpenBlock block = read(entry.block(), domain);
        StoredInode inode = block == null ? null : decode(block);
        if (block == null || inode == null) {
            return;
        }
        if ((inode.mode() & Attributes.TYPE_MASK) != entry.mode()) {
            report(Severity.ERROR, "wrong_kind", block.id(), "is of another kind than its directory entry says");
        }
        if (inode.linkCount() != 1) {
            linked.put(entry.block(), new Found(1, inode.linkCount()));
        }
        StoredInode.File file = inode.file();
        if (file == null) {
            others++;
            return;
        }
        files++;
        long sectors = file.inline().length > 0 ? 0 : (file.sizeBytes() + block.sectorSize() - 1) / block.sectorSize();
        if (block.sectorCount() > sectors) {
            report(
                    Severity.WARNING,
                    "size",
                    block.id(),
                    "has " + block.sectorCount() + " sectors where its size needs " + sectors);
        }
    }

    // ---- one directory's tree

    /** All entries in key order; null when the tree is damaged. */
    private @Nullable List<DirectoryEntry> entries(OpenBlock block, StoredInode.Directory content)
            throws StoreException {
        DirectoryIndex.Layout layout = content.layout();
        List<DirectoryEntry> entries = new ArrayList<>();
        try {
            if (layout.height() == 0) {
                if (layout.inline().length > 0) {
                    collect(DirectoryNode.decode(Map.of(), DirectoryNode.NO_SECTOR, layout.inline()), entries);
                }
                return entries;
            }
            Set<Integer> used = new HashSet<>();
            descend(block, layout.root(), layout.height() - 1, 0, Long.MAX_VALUE, used, entries);
            for (int free = layout.freeHead(); free != DirectoryNode.NO_SECTOR; ) {
                DirectoryNode node = node(block, free, used);
                if (node.kind != DirectoryNode.FREE) {
                    throw new FormatException("sector " + free + " of the free list is in use");
                }
                free = node.next;
            }
            if (used.size() != layout.sectorCount()) {
                report(
                        Severity.WARNING,
                        "leaked_sectors",
                        block.id(),
                        (layout.sectorCount() - used.size()) + " sectors are neither used nor free");
            }
            return entries;
        } catch (FormatException e) {
            report(Severity.ERROR, "tree_shape", block.id(), String.valueOf(e.getMessage()));
        } catch (StoreException e) {
            if (!e.isUnreadable() && e.code() != StoreException.Code.DENIED) {
                throw e;
            }
            report(Severity.ERROR, "unreadable", block.id(), String.valueOf(e.getMessage()));
        }
        return null;
    }

    /** Keys of this subtree lie in [low, high). */
    private void descend(
            OpenBlock block,
            int sector,
            int level,
            long low,
            long high,
            Set<Integer> used,
            List<DirectoryEntry> entries)
            throws StoreException, FormatException {
        DirectoryNode node = node(block, sector, used);
        boolean inner = node.kind == DirectoryNode.INNER;
        if (node.kind == DirectoryNode.FREE || node.level != level || inner != (level > 0)) {
            throw new FormatException("sector " + sector + " is not of level " + level);
        }
        if (!inner) {
            if (node.count > 0 && (node.keys[0] < low || node.keys[node.count - 1] >= high)) {
                report(Severity.ERROR, "tree_order", block.id(), "sector " + sector + " holds keys of another one");
            }
            collect(node, entries);
            return;
        }
        for (int i = 0; i < node.count; i++) {
            long from = i == 0 ? low : node.keys[i];
            long to = i + 1 < node.count ? node.keys[i + 1] : high;
            if (from < low || to > high) {
                report(Severity.ERROR, "tree_order", block.id(), "sector " + sector + " names keys of another one");
            }
            descend(block, node.children[i], level - 1, from, to, used, entries);
        }
    }

    private static DirectoryNode node(OpenBlock block, int sector, Set<Integer> used)
            throws StoreException, FormatException {
        if (sector < 0 || sector >= block.sectorCount() || block.sectorSize() != DirectoryNode.SECTOR_SIZE) {
            throw new FormatException("sector " + sector + " does not exist");
        }
        if (!used.add(sector)) {
            throw new FormatException("sector " + sector + " is used twice");
        }
        byte[] image = new byte[DirectoryNode.SECTOR_SIZE];
        if (!block.readSector(sector, image)) {
            throw new FormatException("sector " + sector + " is a hole");
        }
        return DirectoryNode.decode(Map.of(), sector, image);
    }

    private static void collect(DirectoryNode leaf, List<DirectoryEntry> entries) {
        for (int i = 0; i < leaf.count; i++) {
            entries.add(leaf.entry(i));
        }
    }

    /** Blocks that no directory names and that are not about to be deleted. */
    private void checkOrphans() throws StoreException {
        Set<BlockId> orphans = new HashSet<>();
        try {
            for (byte[] id : Flusher.listedOrphans(store)) {
                orphans.add(BlockId.of(id));
            }
        } catch (StoreException e) {
            if (!e.isUnreadable()) { // else the check of the store reports it
                throw e;
            }
        }
        Consumer<BlockId> check = id -> {
            if (!named.contains(id) && !orphans.contains(id) && (pin == null || !isUnlinked(id))) {
                report(Severity.WARNING, "orphan", id, "no directory names it");
            }
        };
        if (pin == null) {
            store.forEachBlock(check);
        } else {
            store.forEachBlockAt(pin, check);
        }
    }

    /** A live node may have taken it off the list since the state was pinned. */
    private boolean isUnlinked(BlockId id) {
        try {
            OpenBlock block = pin == null ? store.read(id) : store.readAt(id, pin);
            return StoredInode.decode(block.attributes(), block.sectorCount()).linkCount() == 0;
        } catch (StoreException | FormatException e) {
            return false;
        }
    }
}
