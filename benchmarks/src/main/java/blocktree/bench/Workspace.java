package blocktree.bench;

import java.nio.file.Path;

/**
 * Where one run of a row works.
 *
 * @param directory empty at first, on the side
 * @param fixtures source material on the plain disk
 */
record Workspace(Side side, Path directory, Scale scale, Fixtures fixtures) {}
