"""What the workflows call: the image's write-back, the comment of a preview, and small steps of a job."""
