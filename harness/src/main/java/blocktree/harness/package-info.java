/** Starts and drives nodes as child processes over the control protocol; a library for scripts and tests. */
@NullMarked
package blocktree.harness;

import org.jspecify.annotations.NullMarked;
