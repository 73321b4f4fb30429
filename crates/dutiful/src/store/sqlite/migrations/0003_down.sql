-- Back to version 2: tokens, sessions, audit log and history are lost, the jobs stay as they are.
DROP TABLE dutiful_kept;
