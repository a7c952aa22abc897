/** Benchmarks: JMH for the layers, workloads on the mount for the whole. */
@NullMarked
package blocktree.bench;

import org.jspecify.annotations.NullMarked;
