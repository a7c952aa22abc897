package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rocksdb.FlushOptions;
import org.rocksdb.WriteBatch;

/** The log is never shortened and never overwritten: what each flush leaves of it must not stay a file of its own. */
class LogFilesTest {
    private static final int FLUSHES = 100;

    @TempDir
    Path directory;

    @Test
    void manySmallFlushesLeaveFewFiles() throws Exception {
        try (Rocks rocks = new Rocks(directory.resolve("db"), TestTree.options(), Rocks.Mode.CREATE);
                FlushOptions flush = new FlushOptions()) {
            for (int i = 1; i <= FLUSHES; i++) {
                try (WriteBatch batch = new WriteBatch()) {
                    for (int j = 0; j < 20; j++) {
                        batch.put(rocks.family(Column.LOG), Keys.log(i * 20L + j), new byte[500]);
                    }
                    rocks.write(batch);
                }
                rocks.db().flush(flush, rocks.family(Column.LOG));
            }
            long limit = System.nanoTime() + 20_000_000_000L;
            while (files(rocks) > Rocks.LOG_FILES + FLUSHES / Rocks.LOG_FILES && System.nanoTime() < limit) {
                Thread.sleep(20);
            }
            long files = files(rocks);
            assertTrue(
                    files <= Rocks.LOG_FILES + FLUSHES / Rocks.LOG_FILES,
                    files + " files after " + FLUSHES + " flushes");
            for (long position = 20; position < (FLUSHES + 1) * 20L; position++) {
                assertEquals(500, rocks.db().get(rocks.family(Column.LOG), Keys.log(position)).length);
            }
        }
    }

    private static long files(Rocks rocks) {
        String log = Column.LOG.familyName;
        return rocks.db().getLiveFilesMetaData().stream()
                .filter(file -> new String(file.columnFamilyName(), StandardCharsets.US_ASCII).equals(log))
                .count();
    }
}
