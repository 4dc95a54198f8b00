"""Knows every text that `vtl` prints.

Marks beside the texts: D documented by the vendor, S seen in transcripts or in scripts that match it, M made up.
"""

COMMAND_USAGE = "Usage: vtl {0} {1}"  # M
USAGE = """Usage: vtl <command>
  commands: {0}"""  # M
UNKNOWN = "Unknown command: {0}"  # M
HA_USAGE = """Usage: vtl haAdmin {0}newGroup -label <label> -serialNum <serial> -password <password>
       vtl haAdmin {0}addMember -group <label or number> -serialNum <serial> -password <password>
       vtl haAdmin {0}HAOnly {{-enable | -disable | -show}}
       vtl haAdmin {0}autoRecovery {{-retry <count> | -interval <seconds>}}
       vtl haAdmin {0}show"""  # M, the words in it S
ADDED = "\nNew server {0} successfully added to server list."  # S
ALREADY = "Error: This server is already registered."  # S, with a status that is not 0 (implied by scripts)
DELETED = "Server {0} successfully removed from server list."  # M
NOT_LISTED = "Error: Server {0} is not in the server list."  # M
BAD_CERTIFICATE = "Error: Unable to read the server certificate file."  # M
SERVER = "Server: {0}  HTL required: no"  # S
NO_SERVERS_LISTED = "There are no servers registered."  # S, 10.9
NO_SERVERS = "Error: There are no registered servers"  # S, by one author
NO_SLOTS = "Error: Unable to find any Luna SA slots/partitions among registered server(s)"  # S, on stdout, status 0
VERIFY_HEAD = """The following Luna SA Slots/Partitions were found:

Slot\tSerial #        \tLabel
====\t================\t====="""  # S, tabs between the columns
VERIFY_ROW = "{0:>4}\t{1:>16} \t{2}"  # S
KEY_MADE = "Private Key created and written to: {0}"  # S
CERTIFICATE_MADE = "Certificate created and written to: {0}"  # S
NOT_MADE = (
    "Error:  Could not create client certificate or private key. Ensure the current user has read and write permissions"
    " to the directory indicated by the 'ClientCertFile' and 'ClientPrivKeyFile' lines in the Chrystoki.conf file."
)  # S, 10.9
SLOTS_HEAD = "Number of slots: {0}\n\nThe following slots were found:\n"  # D, 5.4 to 7.1
OLD_COLUMNS = ("Slot #", "Description", "Label", "Serial #", "Status")  # D
OLD_ROW = "{0:<10}{1:<22}{2:<33}{3:<17}{4}"  # M: the columns' widths, which the documents do not keep
NEW_HEAD = "Slot Description          Label                            Serial #         Status"  # S
NEW_ROW = "{0:>4} {1:<20} {2:<32} {3:<16} {4}"  # S
GLOBAL_HEAD = "================ HA Global Configuration Settings ==============="  # S, 5.4
GROUP_HEAD = "================ HA Group and Member Information ================"  # S, 5.1 and 5.4
GLOBAL = """
HA Auto Recovery:  {recovery}
Maximum Auto Recovery Retry:  {retry}
Auto Recovery Poll Interval:  {interval} seconds
HA Logging:  disabled
Only Show HA Slots:  {only}
"""  # S
GROUP = """
HA Group Label:  {label}
HA Group Number:  {serial}
HA Group Slot #:  {slot}
Synchronization:  enabled
Group Members:  {members}
Standby members:  <none>

Slot #    Member S/N                      Member Label    Status
======    ==========                      ============    ======"""  # S
MEMBER_ROW = "{0:<10}{1:<32}{2:<16}{3}"  # S
CANCELLED = "The operation was cancelled, nothing was changed."  # M
HA_ONLY_USAGE = "Usage: vtl haAdmin HAOnly {-enable | -disable | -show}"  # M
HA_ONLY = '"HA Only" has been {0}.'  # M
RETRY = "HA Auto Recovery Count has been set to {0}"  # D, of lunacm
INTERVAL = "HA Auto Recovery Interval has been set to {0} seconds"  # M
