/** The inode-based file system over blocks: directories, links, attributes, open files, write-back cache. */
@NullMarked
package blocktree.tree;

import org.jspecify.annotations.NullMarked;
