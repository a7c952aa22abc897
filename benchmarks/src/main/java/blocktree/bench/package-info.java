/**
 * Workloads on a mounted tree beside the same on gocryptfs, on the plain disk and on a file system in memory, all in one run.
 * {@link blocktree.bench.Benchmarks} is the program, {@link blocktree.bench.Row} a workload, {@link blocktree.bench.Side} what it runs on.
 */
@NullMarked
package blocktree.bench;

import org.jspecify.annotations.NullMarked;
