/** Block format, integrity tree, commits and the local store on RocksDB. */
@NullMarked
package blocktree.store;

import org.jspecify.annotations.NullMarked;
