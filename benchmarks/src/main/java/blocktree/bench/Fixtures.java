package blocktree.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * A made-up source tree, as a tar file and as a git repository. The same on every machine, since it comes from a seed: about ten files to a
 * directory, up to four directories deep, sizes log-normal with a median of 4 KiB (the mean is 9 KiB), text that compresses to a quarter.
 */
final class Fixtures {
    private static final long SEED = 20_261_122;
    private static final int FILES_PER_DIRECTORY = 10;
    private static final double SIZE_LOG_MEAN = Math.log(4096);
    private static final double SIZE_LOG_DEVIATION = 1.25;
    private static final int FILE_SIZE_MAX = 256 * 1024;

    /** git must not read the configuration of the user or of the machine. */
    static final Map<String, String> GIT_ENVIRONMENT = Map.of(
            "GIT_CONFIG_NOSYSTEM", "1",
            "GIT_CONFIG_GLOBAL", "/dev/null",
            "GIT_AUTHOR_NAME", "bench",
            "GIT_AUTHOR_EMAIL", "bench@localhost",
            "GIT_COMMITTER_NAME", "bench",
            "GIT_COMMITTER_EMAIL", "bench@localhost");

    private final Path directory;

    /** Makes them below {@code directory}, which is on the plain disk. */
    Fixtures(Path directory, int treeFileCount) throws IOException {
        this.directory = Files.createDirectories(directory.resolve("fixtures"));
        Path tree = Files.createDirectories(this.directory.resolve("tree"));
        writeTree(tree, treeFileCount);
        Processes.run("tar", "-cf", tar().toString(), "-C", this.directory.toString(), "tree");
        git("init", "-q");
        git("add", "-A");
        git("commit", "-q", "-m", "tree");
    }

    private void git(String... arguments) throws IOException {
        List<String> command =
                new java.util.ArrayList<>(List.of("git", "-C", repository().toString()));
        command.addAll(List.of(arguments));
        Processes.run(GIT_ENVIRONMENT, command);
    }

    Path tar() {
        return directory.resolve("tree.tar");
    }

    Path repository() {
        return directory.resolve("tree");
    }

    private static void writeTree(Path tree, int fileCount) throws IOException {
        Random random = new Random(SEED);
        String[] words = new String[1000];
        for (int i = 0; i < words.length; i++) {
            words[i] = word(random);
        }
        Path current = tree;
        int depth = 0;
        for (int i = 0; i < fileCount; i++) {
            if (i % FILES_PER_DIRECTORY == FILES_PER_DIRECTORY - 1) {
                if (depth == 4 || random.nextInt(3) == 0) {
                    current = tree;
                    depth = 0;
                }
                current = Files.createDirectories(current.resolve(word(random) + i));
                depth++;
            }
            int size =
                    (int) Math.min(FILE_SIZE_MAX, Math.exp(SIZE_LOG_MEAN + SIZE_LOG_DEVIATION * random.nextGaussian()));
            Files.write(current.resolve(word(random) + i + ".txt"), text(random, words, size));
        }
    }

    private static String word(Random random) {
        StringBuilder word = new StringBuilder();
        for (int length = 3 + random.nextInt(8); length > 0; length--) {
            word.append((char) ('a' + random.nextInt(26)));
        }
        return word.toString();
    }

    private static byte[] text(Random random, String[] words, int size) {
        StringBuilder text = new StringBuilder(size + 16);
        while (text.length() < size) {
            // Squared, so that some words are frequent.
            double uniform = random.nextDouble();
            text.append(words[(int) (uniform * uniform * words.length)]);
            text.append(random.nextInt(10) == 0 ? '\n' : ' ');
        }
        text.setLength(size);
        return text.toString().getBytes(StandardCharsets.US_ASCII);
    }
}
