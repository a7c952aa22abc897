/** A block tree as a POSIX file system, through jnr-fuse. */
@NullMarked
package blocktree.fuse;

import org.jspecify.annotations.NullMarked;
