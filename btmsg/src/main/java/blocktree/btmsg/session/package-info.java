/** Sessions between nodes: who is there, messages, streams (docs/messages.md). */
@NullMarked
package blocktree.btmsg.session;

import org.jspecify.annotations.NullMarked;
