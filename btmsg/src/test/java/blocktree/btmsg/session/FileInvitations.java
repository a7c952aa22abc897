package blocktree.btmsg.session;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/** A file for each invitation. */
final class FileInvitations implements InvitationStore {
    private final Path directory;

    FileInvitations(Path directory) {
        this.directory = directory;
    }

    @Override
    public void put(String id, byte[] sealed) throws IOException {
        Files.write(directory.resolve(id), sealed);
    }

    @Override
    public void delete(String id) throws IOException {
        Files.deleteIfExists(directory.resolve(id));
    }

    @Override
    public Map<String, byte[]> readAll() throws IOException {
        Map<String, byte[]> rows = new TreeMap<>();
        for (Path file : files()) {
            rows.put(file.getFileName().toString(), Files.readAllBytes(file));
        }
        return rows;
    }

    List<Path> files() throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.sorted().toList();
        }
    }
}
