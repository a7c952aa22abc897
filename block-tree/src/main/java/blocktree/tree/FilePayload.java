package blocktree.tree;

import blocktree.store.BlockEdit;
import blocktree.store.Commit;
import blocktree.store.NewBlock;
import blocktree.store.OpenBlock;
import blocktree.store.StoreException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import org.jspecify.annotations.Nullable;

/**
 * The content of one regular file: inline while it is small, else pages (cached sectors) over the stored generation.
 *
 * <p>Where a sector's content is found: its page; else nothing (zeros) when the overlay of changes since the last commit, or that of the commit under way, hides it; else the stored
 * generation. Bytes behind the end of the file are zero in every page and stored sector, so extending a file needs no work.
 *
 * <p>Locking: methods marked shared may run with the inode's shared lock, all others need the exclusive one. Loading a page happens under the shared lock, so a slow store delays writers of
 * this file only.
 */
final class FilePayload {
    private static final long LOAD_TIMEOUT_MILLIS = 30_000;
    private static final byte[] EMPTY = new byte[0];
    /** Sectors that are loaded in one go at most: a request of the kernel. */
    private static final int RUN_SECTORS_MAX = 32;

    private final Cache cache;
    private final BufferPool pool;
    private final ConcurrentSkipListMap<Long, Page> pages = new ConcurrentSkipListMap<>();

    private volatile @Nullable OpenBlock base;
    /** What the attributes of {@link #base} say. */
    private StoredInode.File stored;

    private long sizeBytes;
    /** Holds the first {@link #sizeBytes} bytes of content, and zeros behind; null when the content lies in sectors. */
    private byte @Nullable [] inline;

    private int sectorSizeLog2;
    private long storedSectors;
    private volatile Overlay overlay = new Overlay();
    private volatile @Nullable Overlay flushing;
    /** Pages that are DIRTY, once each, and some that no longer are. */
    private List<Page> dirtyPages = new ArrayList<>();

    FilePayload(@Nullable OpenBlock base, StoredInode.File stored, Cache cache, BufferPool pool) {
        this.base = base;
        this.stored = stored;
        this.cache = cache;
        this.pool = pool;
        sizeBytes = stored.sizeBytes();
        storedSectors = stored.storedSectors();
        sectorSizeLog2 = base == null || base.sectorCount() == 0
                ? StoredInode.SECTOR_SIZE_LOG2
                : Integer.numberOfTrailingZeros(base.sectorSize());
        inline = sizeBytes == stored.inline().length ? stored.inline() : null;
        long sectors = inline != null ? 0 : sectorsOf(sizeBytes);
        if (base != null && base.sectorCount() > sectors) {
            overlay.truncate(sectors, sizeBytes, -1);
        }
    }

    /** Shared. */
    long sizeBytes() {
        return sizeBytes;
    }

    /** Shared. What the content takes, in bytes. */
    long storedBytes() {
        return inline != null ? sizeBytes : storedSectors << sectorSizeLog2;
    }

    /** Shared. Memory of the inline content. */
    int inlineBytes() {
        byte[] held = inline;
        return held == null ? 0 : held.length;
    }

    /** Shared. */
    int sectorSize() {
        return 1 << sectorSizeLog2;
    }

    /** Shared. Whether there is content that the store does not have. */
    boolean hasDirtyData() {
        return !dirtyPages.isEmpty() || !overlay.isEmpty();
    }

    // ---- reading

    /** Shared. Copies from {@code offset} on; returns the number of bytes, 0 at the end. */
    int read(long offset, ByteBuffer target) throws FileSystemException {
        if (offset >= sizeBytes) {
            return 0;
        }
        int size = (int) Math.min(target.remaining(), sizeBytes - offset);
        byte[] held = inline;
        if (held != null) {
            target.put(held, (int) offset, size);
            return size;
        }
        if (size > sectorSize()) {
            prefetch(offset, offset + size);
            awaitLast(offset + size - 1);
        }
        long at = offset;
        int left = size;
        while (left > 0) {
            int within = (int) (at & (sectorSize() - 1));
            int part = Math.min(left, sectorSize() - within);
            Page page = page(at >>> sectorSizeLog2);
            if (page == null) {
                putZeros(target, part);
            } else {
                target.put(page.data, within, part);
                page.release();
            }
            at += part;
            left -= part;
        }
        return size;
    }

    /** Sectors are loaded in order: whoever waits for the last of them is woken once. */
    private void awaitLast(long offset) throws FileSystemException {
        Page last = pages.get(offset >>> sectorSizeLog2);
        if (last != null) {
            last.awaitLoaded(LOAD_TIMEOUT_MILLIS);
        }
    }

    private static void putZeros(ByteBuffer target, int count) {
        byte[] zeros = new byte[Math.min(count, 4096)];
        for (int left = count; left > 0; left -= zeros.length) {
            target.put(zeros, 0, Math.min(left, zeros.length));
        }
    }

    /** Shared. Brings the sectors of a range into the cache, those that lie together in one go. */
    void prefetch(long offset, long endOffset) throws FileSystemException {
        OpenBlock block = base;
        if (inline != null || block == null) {
            return;
        }
        long end = Math.min(sectorsOf(Math.min(endOffset, sizeBytes)), block.sectorCount());
        List<Page> run = new ArrayList<>(RUN_SECTORS_MAX);
        for (long index = offset >>> sectorSizeLog2; index < end; index++) {
            Page page = pages.get(index) != null || isHidden(index) ? null : enterLoading(index);
            if (page != null) {
                run.add(page);
            }
            if (!run.isEmpty() && (page == null || run.size() == RUN_SECTORS_MAX || index + 1 == end)) {
                load(run, block);
                run.clear();
            }
        }
    }

    /** Shared. Loads what a write of this range will need to keep. */
    void prepareWrite(long offset, int size) throws FileSystemException {
        if (inline != null || size == 0) {
            return;
        }
        long end = offset + size;
        for (long index : new long[] {offset >>> sectorSizeLog2, (end - 1) >>> sectorSizeLog2}) {
            if (!covers(index, offset, end)) {
                Page page = page(index);
                if (page != null) {
                    page.release();
                }
            }
        }
    }

    /** Whether a write of [offset, end) leaves nothing of the old content of this sector. */
    private boolean covers(long index, long offset, long end) {
        long start = index << sectorSizeLog2;
        return offset <= start && (end >= start + sectorSize() || end >= sizeBytes);
    }

    /** Shared. The page of a sector, retained for the caller; null for a hole. */
    private @Nullable Page page(long index) throws FileSystemException {
        while (true) {
            Page page = pages.get(index);
            if (page != null) {
                if (page.tryRetain()) {
                    try {
                        page.awaitLoaded(LOAD_TIMEOUT_MILLIS);
                    } catch (FileSystemException e) {
                        page.release();
                        throw e;
                    }
                    if (page.state() != CachedPiece.EVICTED) {
                        cache.found(page);
                        return page;
                    }
                    page.release();
                }
                pages.remove(index, page);
                continue;
            }
            OpenBlock block = base;
            if (block == null || isHidden(index) || index >= block.sectorCount()) {
                return null;
            }
            page = enterLoading(index);
            if (page == null) {
                continue;
            }
            page.tryRetain();
            int present = 0;
            try {
                present = load(List.of(page), block);
            } finally {
                if (present == 0) {
                    page.release();
                }
            }
            return present == 0 ? null : page;
        }
    }

    /** A page for its sector to be loaded into; null when another thread was first. */
    private @Nullable Page enterLoading(long index) {
        Page page = new Page(this, index, pool.take(sectorSizeLog2), pool);
        if (pages.putIfAbsent(index, page) != null) {
            page.release();
            return null;
        }
        return page;
    }

    /** Fills pages that were entered for this, of sectors that follow one another. Those of holes go; returns how many were none. */
    private int load(List<Page> run, OpenBlock block) throws FileSystemException {
        byte[][] buffers = new byte[run.size()][];
        for (int i = 0; i < buffers.length; i++) {
            buffers[i] = run.get(i).data;
        }
        int[] count = new int[2]; // read, present
        try {
            block.readSectors(run.get(0).index, buffers, (i, present) -> {
                count[0]++;
                count[1] += present ? 1 : 0;
                loaded(run.get(i), present);
            });
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        } finally {
            for (Page page : run.subList(count[0], run.size())) {
                loaded(page, false);
            }
        }
        return count[1];
    }

    private void loaded(Page page, boolean present) {
        if (present) {
            long end = sizeBytes - (page.index << sectorSizeLog2);
            if (end >= 0 && end < page.data.length) {
                // A crash between two commits of one file can leave bytes behind its end.
                Arrays.fill(page.data, (int) end, page.data.length, (byte) 0);
            }
            cache.loaded(page);
        } else {
            page.state(CachedPiece.EVICTED);
            pages.remove(page.index, page);
            page.release();
        }
        page.loadEnded();
    }

    private boolean isHidden(long index) {
        Overlay current = overlay;
        Overlay inFlight = flushing;
        return current.hides(index) || inFlight != null && inFlight.hides(index);
    }

    /** Whether this page tells that its sector is no hole; one that is being loaded does not: the stored generation knows. */
    private static boolean holdsContent(@Nullable Page page) {
        return page != null && page.state() != CachedPiece.LOADING && page.state() != CachedPiece.EVICTED;
    }

    /** Shared. Whether a sector has content. */
    private boolean hasData(long index) throws FileSystemException {
        if (holdsContent(pages.get(index))) {
            return true;
        }
        OpenBlock block = base;
        if (block == null || isHidden(index) || index >= block.sectorCount()) {
            return false;
        }
        try {
            return block.nextData(index) == index;
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
    }

    /** Shared. The first sector at or behind {@code index} with content, below {@code end}; {@code end} when there is none. */
    private long nextData(long index, long end) throws FileSystemException {
        long found = end;
        for (Page page : pages.subMap(index, end).values()) {
            if (holdsContent(page)) {
                found = page.index;
                break;
            }
        }
        OpenBlock block = base;
        Overlay inFlight = flushing;
        if (block == null) {
            return found;
        }
        try {
            long at = index;
            while (at < Math.min(found, block.sectorCount())) {
                long data = block.nextData(at);
                if (data >= found || data >= block.sectorCount()) {
                    break;
                }
                long shown = overlay.nextShown(data);
                if (inFlight != null && shown != Long.MAX_VALUE) {
                    shown = inFlight.nextShown(shown);
                }
                if (shown == data) {
                    return data;
                }
                at = shown;
            }
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
        return found;
    }

    /** Shared. The first hole at or behind {@code index}, below {@code end}; {@code end} when there is none. */
    private long nextHole(long index, long end) throws FileSystemException {
        long at = index;
        while (at < end) {
            if (holdsContent(pages.get(at))) {
                at++;
                continue;
            }
            OpenBlock block = base;
            if (block == null || isHidden(at) || at >= block.sectorCount()) {
                return at;
            }
            try {
                long hole = block.nextHole(at);
                if (hole == at) {
                    return at;
                }
                Overlay inFlight = flushing;
                long hidden =
                        Math.min(overlay.nextHidden(at), inFlight == null ? Long.MAX_VALUE : inFlight.nextHidden(at));
                at = Math.min(hole, hidden);
            } catch (StoreException e) {
                throw StoreErrors.toFileSystem(e);
            }
        }
        return end;
    }

    /** Shared. lseek(2) with SEEK_DATA or SEEK_HOLE; the end of the file counts as a hole. */
    long seek(long offset, boolean hole) throws FileSystemException {
        if (offset < 0 || offset >= sizeBytes) {
            throw new FileSystemException(FileSystemException.Code.NO_DATA, "offset behind the end");
        }
        if (inline != null) {
            return hole ? sizeBytes : offset;
        }
        long end = sectorsOf(sizeBytes);
        long index = offset >>> sectorSizeLog2;
        long found = hole ? nextHole(index, end) : nextData(index, end);
        if (found >= end) {
            if (hole) {
                return sizeBytes;
            }
            throw new FileSystemException(FileSystemException.Code.NO_DATA, "no data behind this offset");
        }
        return Math.max(offset, found << sectorSizeLog2);
    }

    // ---- changing

    void write(long offset, ByteBuffer source) throws FileSystemException {
        int size = source.remaining();
        if (size == 0) {
            return;
        }
        if (offset < 0 || offset > StoredInode.FILE_SIZE_MAX - size) {
            throw tooBig();
        }
        long end = offset + size;
        byte[] held = inline;
        if (held != null && end <= StoredInode.INLINE_BYTES_MAX) {
            held = ownInline(held, (int) Math.max(end, sizeBytes));
            source.get(held, (int) offset, size);
            inline = held;
            sizeBytes = Math.max(sizeBytes, end);
            return;
        }
        spill();
        long first = offset >>> sectorSizeLog2;
        long last = (end - 1) >>> sectorSizeLog2;
        // What is kept of the outer sectors is loaded before the first byte changes.
        if (!covers(last, offset, end)) {
            writable(last, false, end);
        }
        if (!covers(first, offset, end)) {
            writable(first, false, end);
        }
        long at = offset;
        for (long index = first; index <= last; index++) {
            int within = (int) (at & (sectorSize() - 1));
            int part = (int) Math.min(end - at, sectorSize() - within);
            Page page = writable(
                    index, covers(index, offset, end), within == 0 && part == sectorSize() ? Long.MAX_VALUE : end);
            source.get(page.data, within, part);
            at += part;
        }
        sizeBytes = Math.max(sizeBytes, end);
    }

    /** A copy of the inline content with room for {@code size} bytes; arrays that were handed out for a commit never change. */
    private static byte[] ownInline(byte[] held, int size) {
        return Arrays.copyOf(held, Math.max(size, held.length));
    }

    /** Moves inline content into a page. */
    private void spill() throws FileSystemException {
        byte[] held = inline;
        if (held == null) {
            return;
        }
        inline = null;
        if (sizeBytes > 0) {
            Page page = writable(0, true, 0);
            System.arraycopy(held, 0, page.data, 0, (int) sizeBytes);
        }
    }

    /**
     * The page of a sector, DIRTY.
     *
     * @param replaced nothing of the old content is needed
     * @param zeroBefore Long.MAX_VALUE when the caller overwrites the whole page, so that a new one need not be zeroed
     */
    private Page writable(long index, boolean replaced, long zeroBefore) throws FileSystemException {
        while (true) {
            Page page = pages.get(index);
            if (page == null) {
                boolean data = hasData(index);
                if (data && !replaced) {
                    Page loaded = page(index);
                    if (loaded != null) {
                        return claim(loaded);
                    }
                }
                Page fresh = new Page(this, index, pool.take(sectorSizeLog2), pool);
                if (zeroBefore != Long.MAX_VALUE) {
                    Arrays.fill(fresh.data, (byte) 0);
                }
                if (!data) {
                    storedSectors++;
                }
                enter(fresh);
                return fresh;
            }
            switch (page.state()) {
                case CachedPiece.DIRTY -> {
                    return page;
                }
                case CachedPiece.CLEAN -> {
                    if (cache.makeDirty(page)) {
                        dirtyPages.add(page);
                        return page;
                    }
                    pages.remove(index, page);
                }
                case CachedPiece.FLUSHING -> {
                    Page copy = new Page(this, index, pool.take(sectorSizeLog2), pool);
                    System.arraycopy(page.data, 0, copy.data, 0, copy.data.length);
                    enter(copy);
                    page.release();
                    return copy;
                }
                case CachedPiece.LOADING -> page.awaitLoaded(LOAD_TIMEOUT_MILLIS);
                default -> pages.remove(index, page);
            }
        }
    }

    /** Makes a page DIRTY that was loaded and retained just now, and lets go of it; where it was evicted already, a copy. */
    private Page claim(Page loaded) {
        try {
            if (cache.makeDirty(loaded)) {
                dirtyPages.add(loaded);
                return loaded;
            }
            Page copy = new Page(this, loaded.index, pool.take(sectorSizeLog2), pool);
            System.arraycopy(loaded.data, 0, copy.data, 0, copy.data.length);
            enter(copy);
            return copy;
        } finally {
            loaded.release();
        }
    }

    private void enter(Page page) {
        cache.created(page);
        pages.put(page.index, page);
        dirtyPages.add(page);
    }

    void remove(Page page) {
        pages.remove(page.index, page);
    }

    /** Takes a page out of memory whatever its state. */
    private void drop(Page page) {
        if (cache.evict(page)) {
            return;
        }
        switch (page.state()) {
            case CachedPiece.DIRTY -> {
                pages.remove(page.index, page);
                cache.discardDirty(page);
                page.release();
            }
            case CachedPiece.FLUSHING -> {
                // Accounted for by its commit, which finds it gone from the map.
                pages.remove(page.index, page);
                page.release();
            }
            default -> pages.remove(page.index, page);
        }
    }

    void truncate(long newSize) throws FileSystemException {
        if (newSize < 0) {
            throw new FileSystemException(FileSystemException.Code.INVALID, "negative size");
        }
        if (newSize > StoredInode.FILE_SIZE_MAX) {
            throw tooBig();
        }
        if (newSize == sizeBytes) {
            return;
        }
        byte[] held = inline;
        if (newSize == 0) {
            clear();
        } else if (held != null && newSize <= StoredInode.INLINE_BYTES_MAX) {
            // Zeros behind the end: cut, then extend.
            inline = Arrays.copyOf(Arrays.copyOf(held, (int) Math.min(newSize, sizeBytes)), (int) newSize);
        } else if (newSize > sizeBytes) {
            spill();
        } else {
            shrink(newSize);
        }
        sizeBytes = newSize;
    }

    private void clear() {
        for (Page page : pages.values()) {
            drop(page);
        }
        dirtyPages.clear();
        overlay.truncate(0, 0, -1);
        inline = EMPTY;
        storedSectors = 0;
        sectorSizeLog2 = StoredInode.SECTOR_SIZE_LOG2;
    }

    private void shrink(long newSize) throws FileSystemException {
        long limit = sectorsOf(newSize);
        int within = (int) (newSize & (sectorSize() - 1));
        long dropped = countData(limit, sectorsOf(sizeBytes));
        if (within > 0 && hasData(limit - 1)) {
            Page page = writable(limit - 1, false, 0);
            Arrays.fill(page.data, within, page.data.length, (byte) 0);
        }
        for (Page page : pages.tailMap(limit).values()) {
            drop(page);
        }
        overlay.truncate(limit, newSize, limit - 1);
        storedSectors -= dropped;
    }

    /** Makes the range read as zeros, without changing the size. */
    void punch(long offset, long size) throws FileSystemException {
        long end = Math.min(offset + size, sizeBytes);
        if (offset >= end) {
            return;
        }
        byte[] held = inline;
        if (held != null) {
            held = held.clone();
            Arrays.fill(held, (int) offset, (int) end, (byte) 0);
            inline = held;
            return;
        }
        long from = (offset + sectorSize() - 1) >>> sectorSizeLog2;
        // The rest of the last sector is behind the end and zero already.
        long to = end == sizeBytes ? sectorsOf(end) : end >>> sectorSizeLog2;
        if (from > to) {
            zero(offset, end);
            return;
        }
        zero(offset, Math.min(end, from << sectorSizeLog2));
        zero(Math.max(offset, to << sectorSizeLog2), end);
        storedSectors -= countData(from, to);
        for (Page page : pages.subMap(from, to).values()) {
            drop(page);
        }
        overlay.punch(from, to);
    }

    /** Zeroes bytes of one sector. */
    private void zero(long offset, long end) throws FileSystemException {
        if (offset < end && hasData(offset >>> sectorSizeLog2)) {
            Page page = writable(offset >>> sectorSizeLog2, false, 0);
            int within = (int) (offset & (sectorSize() - 1));
            Arrays.fill(page.data, within, within + (int) (end - offset), (byte) 0);
        }
    }

    private long countData(long from, long to) throws FileSystemException {
        long count = 0;
        long at = nextData(from, to);
        while (at < to) {
            long hole = nextHole(at, to);
            count += hole - at;
            at = hole < to ? nextData(hole, to) : to;
        }
        return count;
    }

    private long sectorsOf(long bytes) {
        return (bytes >>> sectorSizeLog2) + ((bytes & (sectorSize() - 1)) == 0 ? 0 : 1);
    }

    private static FileSystemException tooBig() {
        return new FileSystemException(FileSystemException.Code.FILE_TOO_BIG, "files end at 2^62 bytes");
    }

    // ---- write-back; one commit at a time

    /** What one commit takes of a file. */
    record Capture(StoredInode.File content, Overlay overlay, List<Page> pages, int sectorSizeLog2, boolean complete) {
        long bytes() {
            return (long) pages.size() << sectorSizeLog2;
        }
    }

    /** Shared, and no other capture under way. The content as the last commit left it: for a commit of the attributes alone. */
    StoredInode.File stored() {
        return stored;
    }

    /**
     * Shared, and no other capture under way. Takes dirty pages, lowest first, up to about {@code bytesMax} (at least one). When some stay behind, the captured size ends before them unless the file was
     * that long already: a crash then shows a shorter file, not one with gaps.
     */
    Capture capture(long bytesMax) {
        Overlay taken = overlay;
        flushing = taken;
        overlay = new Overlay();
        byte[] held = inline;
        if (held != null) {
            byte[] content = held.length == sizeBytes ? held : Arrays.copyOf(held, (int) sizeBytes);
            inline = content;
            return new Capture(new StoredInode.File(sizeBytes, content, 0), taken, List.of(), sectorSizeLog2, true);
        }
        List<Page> dirty = new ArrayList<>(dirtyPages.size());
        for (Page page : dirtyPages) {
            if (page.state() == CachedPiece.DIRTY) {
                dirty.add(page);
            }
        }
        dirty.sort(Comparator.comparingLong((Page page) -> page.index));
        long kept = Math.min(sizeBytes, Math.min(stored.sizeBytes(), taken.sizeBytesMin()));
        int count = (int) Math.min(dirty.size(), Math.max(1, bytesMax >>> sectorSizeLog2));
        List<Page> captured = new ArrayList<>(dirty.subList(0, count));
        List<Page> left = new ArrayList<>();
        for (Page page : dirty.subList(count, dirty.size())) {
            (page.index == taken.cutIndex() ? captured : left).add(page);
        }
        long size = sizeBytes;
        if (!left.isEmpty()) {
            long reached = left.get(0).index << sectorSizeLog2;
            size = Math.max(Math.min(sizeBytes, reached), kept);
        }
        for (Page page : captured) {
            page.tryRetain();
            page.state(CachedPiece.FLUSHING);
        }
        dirtyPages = left;
        return new Capture(
                new StoredInode.File(size, EMPTY, storedSectors), taken, captured, sectorSizeLog2, left.isEmpty());
    }

    /** Without locks. Opens the block in the commit and applies the captured overlay; its attributes are the caller's. */
    static BlockEdit edit(Commit commit, @Nullable OpenBlock base, @Nullable NewBlock fresh, Capture capture)
            throws StoreException {
        if (base == null) {
            if (fresh == null) {
                throw new IllegalStateException("a block that is neither new nor stored");
            }
            return commit.create(fresh, capture.sectorSizeLog2());
        }
        BlockEdit edit = commit.edit(base);
        Overlay overlay = capture.overlay();
        if (edit.sectorSize() != 1 << capture.sectorSizeLog2()) {
            edit.resize(capture.sectorSizeLog2());
        } else {
            if (overlay.limit() < edit.sectorCount()) {
                edit.truncate(overlay.limit());
            }
            for (Map.Entry<Long, Long> range : overlay.punched().entrySet()) {
                if (range.getKey() < edit.sectorCount()) {
                    edit.punch(range.getKey(), Math.min(range.getValue(), edit.sectorCount()));
                }
            }
        }
        return edit;
    }

    void committed(Capture capture, OpenBlock newBase) {
        base = newBase;
        stored = capture.content();
        flushing = null;
        for (Page page : capture.pages()) {
            if (pages.get(page.index) == page) {
                cache.flushed(page);
            } else {
                cache.discardDirty(page);
            }
            page.release();
        }
    }

    /** Attributes alone were committed. */
    void committedAttributes(OpenBlock newBase) {
        base = newBase;
    }

    /** The commit did not happen: what it held is dirty again. */
    void failed(Capture capture) {
        Overlay merged = capture.overlay();
        merged.merge(overlay);
        overlay = merged;
        flushing = null;
        for (Page page : capture.pages()) {
            if (pages.get(page.index) == page) {
                page.state(CachedPiece.DIRTY);
                dirtyPages.add(page);
            } else {
                cache.discardDirty(page);
            }
            page.release();
        }
    }

    /** Drops everything: the file is deleted. */
    void discard() {
        for (Page page : pages.values()) {
            drop(page);
        }
        dirtyPages.clear();
    }
}
