package blocktree.fuse;

import com.sun.security.auth.module.UnixSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the kernel lets this process do; see capabilities(7). */
final class Privilege {
    private static final String EFFECTIVE = "CapEff:";
    private static final int CAP_SYS_ADMIN = 21;

    private Privilege() {}

    static boolean isRoot() {
        return new UnixSystem().getUid() == 0;
    }

    /** Whether it mounts and unmounts by itself, not through the program fusermount: as root, or as a service with CAP_SYS_ADMIN. */
    static boolean mayMount() {
        return isRoot() || isAdministrator();
    }

    private static boolean isAdministrator() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith(EFFECTIVE)) {
                    long set = Long.parseUnsignedLong(
                            line.substring(EFFECTIVE.length()).strip(), 16);
                    return (set >> CAP_SYS_ADMIN & 1) == 1;
                }
            }
        } catch (IOException e) {
            // no /proc: then through fusermount
        }
        return false;
    }
}
