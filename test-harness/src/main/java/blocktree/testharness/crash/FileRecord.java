package blocktree.testharness.crash;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What may be found of one file after a crash: the states since its last acknowledgement, that one included. A change is noted before it is
 * tried, since a change that was cut off may or may not have happened. Not thread-safe: a file belongs to one writer.
 */
final class FileRecord {
    /** In place of a path: the file does not exist. */
    static final String ABSENT = "";

    final long id;
    private final LinkedHashSet<String> paths = new LinkedHashSet<>();
    private String path;
    private int pageCount;
    private int pageCountMin;
    private int pageCountMax;
    /** Last version written into each page, and the one that was acknowledged. */
    private final List<Integer> versions = new ArrayList<>();

    private final List<Integer> versionsMin = new ArrayList<>();
    private int version;
    private @Nullable FileRecord replacement;

    FileRecord(long id, String path) {
        this.id = id;
        this.path = path;
        paths.add(ABSENT);
        paths.add(path);
    }

    String path() {
        return path;
    }

    int pageCount() {
        return pageCount;
    }

    boolean isAbsent() {
        return path.equals(ABSENT);
    }

    void movesTo(String newPath) {
        path = newPath;
        paths.add(newPath);
    }

    /** Goes away because {@code other} is renamed over it: never without the other being there. */
    void isReplacedBy(FileRecord other) {
        replacement = other;
        movesTo(ABSENT);
    }

    int nextVersion() {
        return ++version;
    }

    void writes(int firstPage, int count, int newVersion) {
        for (int page = firstPage; page < firstPage + count; page++) {
            while (versions.size() <= page) {
                versions.add(0);
                versionsMin.add(0);
            }
            versions.set(page, newVersion);
        }
        resizes(Math.max(pageCount, firstPage + count));
    }

    void resizes(int newPageCount) {
        pageCount = newPageCount;
        pageCountMin = Math.min(pageCountMin, newPageCount);
        pageCountMax = Math.max(pageCountMax, newPageCount);
    }

    void acknowledgeContent() {
        pageCountMin = pageCount;
        pageCountMax = pageCount;
        for (int page = 0; page < versions.size(); page++) {
            versionsMin.set(page, versions.get(page));
        }
    }

    void acknowledgePath() {
        paths.clear();
        paths.add(path);
        replacement = null;
    }

    boolean mayBeAt(String somePath) {
        return paths.contains(somePath);
    }

    boolean mayBeEmpty() {
        return pageCountMin == 0;
    }

    Set<String> paths() {
        return paths;
    }

    /** What is wrong with the file not being there, or null. */
    @Nullable
    String problemOfAbsence(Found found) {
        if (!mayBeAt(ABSENT)) {
            return "lost: file " + id + " acknowledged at " + paths;
        }
        FileRecord other = replacement;
        if (other != null) {
            String otherPath = found.pathOf(other);
            if (otherPath == null
                    ? !other.mayBeAt(ABSENT)
                    : !paths.contains(otherPath) && otherPath.endsWith(CrashWriter.TEMPORARY)) {
                return "lost: file " + id + " of " + paths + " is gone but file " + other.id + " is at " + otherPath;
            }
        }
        return null;
    }

    /** What is wrong with the file as it was found, or null. */
    @Nullable
    String problemOf(String foundPath, int[] foundVersions) {
        if (!mayBeAt(foundPath)) {
            return (path.equals(ABSENT) ? "came back: " : "misplaced: ") + "file " + id + " at " + foundPath
                    + ", not one of " + paths;
        }
        if (foundVersions.length < pageCountMin || foundVersions.length > pageCountMax) {
            return "wrong size: file " + id + " at " + foundPath + " has " + foundVersions.length + " pages, not "
                    + pageCountMin + " to " + pageCountMax;
        }
        for (int page = 0; page < foundVersions.length; page++) {
            if (foundVersions[page] < versionsMin.get(page) || foundVersions[page] > version) {
                return "wrong content: file " + id + " at " + foundPath + " page " + page + " has version "
                        + foundVersions[page] + ", not " + versionsMin.get(page) + " to " + version;
            }
        }
        return null;
    }

    /** From here on, what was found is what is acknowledged: it was read from the store. */
    void adopt(String foundPath, int[] foundVersions) {
        path = foundPath;
        acknowledgePath();
        versions.clear();
        versionsMin.clear();
        for (int found : foundVersions) {
            versions.add(found);
            versionsMin.add(found);
        }
        pageCount = foundVersions.length;
        pageCountMin = pageCount;
        pageCountMax = pageCount;
    }

    /** Where files were found after a crash. */
    interface Found {
        @Nullable
        String pathOf(FileRecord file);
    }
}
